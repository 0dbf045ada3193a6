// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IEnergyMarket} from "./interfaces/IEnergyMarket.sol";
import {Purpose} from "./libraries/Purpose.sol";
import {Requests} from "./libraries/Requests.sol";
import {MarketBase} from "./MarketBase.sol";
import {Feeder} from "./MarketState.sol";

/// @title Opens lots, asks the oracles for their readings, and keeps the feeders' LINK
abstract contract Openings is MarketBase {
    bool private transient _takingLinkBack;
    bool private transient _sending;

    // ------------------------------------------------------------------------------------------ opening

    /// @inheritdoc IEnergyMarket
    function openLots(bytes32 feeder, uint64 lot) public {
        if (_sending) revert RequestsUnderWay();
        // an operator that is called meanwhile cannot have other requests sent in between
        _sending = true;
        Requests.open(_s, _pending, Requests.Office(_link, _lotSeconds), feeder, lot);
        _sending = false;
    }

    /// @inheritdoc IEnergyMarket
    function requestStage(bytes32 feeder, uint64 lot, uint8 stage, uint16 first) external {
        if (_sending) revert RequestsUnderWay();
        _sending = true;
        Requests.again(_s, _pending, Requests.Office(_link, _lotSeconds), feeder, lot, _stageOf(stage), first);
        _sending = false;
    }

    /// @inheritdoc IEnergyMarket
    function nextOpening(bytes32 feeder) external view returns (uint64 lot, uint64 notBefore) {
        return Requests.nextOpening(_s, _lotSeconds, feeder);
    }

    /// @inheritdoc IEnergyMarket
    function lotsPerClearing(bytes32 feeder) external view returns (uint32) {
        return Requests.lotsPerClearing(_s, feeder);
    }

    // ------------------------------------------------------------------------------------------ LINK

    /// @notice Takes LINK for a feeder's requests: `LINK.transferAndCall(market, amount, abi.encode(feeder))`.
    function onTokenTransfer(address from, uint256 amount, bytes calldata data) external {
        if (msg.sender != address(_link)) revert NotToken(msg.sender);
        if (_takingLinkBack) revert TakingLinkBack();
        if (data.length != 32) revert BadData(data.length, 32);
        bytes32 feeder = bytes32(data);
        _feeder(feeder).link += SafeCast.toUint96(amount);
        emit LinkFunded(feeder, from, amount);
    }

    /// @notice Takes an expired request's LINK back, for its feeder or for who paid the repeat. The readings can still be submitted by anyone.
    /// @param payment what was paid for it, as in the operator's OracleRequest event
    /// @param expiration as in that event
    function cancelRequest(bytes32 requestId, uint256 payment, uint256 expiration) external {
        if (_takingLinkBack) revert TakingLinkBack();
        // What arrives counts, not what the operator says; and nothing that it does meanwhile counts twice.
        uint256 before = _link.balanceOf(address(this));
        _takingLinkBack = true;
        uint96 purpose = _cancelRequest(requestId, payment, expiration);
        _takingLinkBack = false;
        uint256 arrived = _link.balanceOf(address(this)) - before;
        (uint256 number, , , ) = Purpose.unpack(purpose);
        bytes32 feeder = _s.feederIds[uint24(number)];
        address payer = _s.payers[requestId];
        if (payer != address(0)) {
            delete _s.payers[requestId];
            emit LinkReturned(requestId, payer, arrived);
            _link.transfer(payer, arrived);
            return;
        }
        _s.feeders[feeder].link += SafeCast.toUint96(arrived);
        emit LinkFunded(feeder, msg.sender, arrived);
    }

    function _withdrawLink(bytes32 feeder, address to, uint256 amount) internal {
        Feeder storage f = _feeder(feeder);
        if (amount > f.link) revert LinkTooLow(feeder, f.link, amount);
        f.link -= uint96(amount);
        emit LinkWithdrawn(feeder, to, amount);
        _link.transfer(to, amount);
    }

    // ------------------------------------------------------------------------------------------ Automation

    /// @notice Chainlink Automation: whether the feeder in `checkData` (abi.encode(bytes32)) has lots to open.
    function checkUpkeep(bytes calldata checkData) external view returns (bool needed, bytes memory performData) {
        if (checkData.length != 32) revert BadData(checkData.length, 32);
        bytes32 feeder = bytes32(checkData);
        uint64 lot;
        (needed, lot) = Requests.upkeep(_s, _lotSeconds, feeder);
        performData = abi.encode(feeder, lot);
    }

    /// @notice Chainlink Automation: opens the lots that `checkUpkeep` named. Anyone may call it, as `openLots`.
    function performUpkeep(bytes calldata performData) external {
        if (performData.length != 64) revert BadData(performData.length, 64);
        (bytes32 feeder, uint256 lot) = abi.decode(performData, (bytes32, uint256));
        if (lot > type(uint64).max) revert LotOutOfRange(lot);
        openLots(feeder, uint64(lot));
    }
}
