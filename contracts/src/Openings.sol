// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {LinkTokenInterface} from "@chainlink/contracts/src/v0.8/shared/interfaces/LinkTokenInterface.sol";
import {IEnergyMarket, Stage} from "./interfaces/IEnergyMarket.sol";
import {Requests} from "./libraries/Requests.sol";
import {MarketBase} from "./MarketBase.sol";
import {Feeder, Purpose} from "./MarketState.sol";

/// @title Opens lots, asks the oracles for their readings, and keeps the feeders' LINK
abstract contract Openings is MarketBase {
    /// @notice Gas that must be left to begin another request; what is missing is requested by opening again.
    uint256 private constant _GAS_REQUEST = 250_000;

    bool private transient _takingLinkBack;

    // ------------------------------------------------------------------------------------------ opening

    /// @inheritdoc IEnergyMarket
    function openLots(bytes32 feeder, uint64 lot) public {
        Requests.open(_s, _lotSeconds, feeder, lot);
        bool begun = false;
        while (!begun || gasleft() > _GAS_REQUEST) {
            begun = true;
            bytes32 requestId = _nextRequestId();
            (bool more, Requests.Request memory request) = Requests.next(_s, feeder, lot, requestId);
            if (!more) return;
            _send(feeder, lot, request);
        }
    }

    /// @inheritdoc IEnergyMarket
    function requestStage(bytes32 feeder, uint64 lot, Stage stage, uint16 first) external {
        (Requests.Request memory request, bool free) =
            Requests.again(_s, feeder, lot, stage, first, _nextRequestId());
        if (!free && request.payment != 0) {
            // beyond the free ones, who wants it pays it
            LinkTokenInterface(_chainlinkTokenAddress()).transferFrom(msg.sender, address(this), request.payment);
        }
        _send(feeder, lot, request);
    }

    /// @inheritdoc IEnergyMarket
    function nextOpening(bytes32 feeder) external view returns (uint64 lot, uint64 notBefore) {
        return Requests.nextOpening(_s, _lotSeconds, feeder);
    }

    /// @inheritdoc IEnergyMarket
    function lotsPerClearing(bytes32 feeder) external view returns (uint32) {
        return Requests.lotsPerClearing(_s, feeder);
    }

    function _send(bytes32 feeder, uint64 lot, Requests.Request memory r) private {
        _requestReadings(r.operator, r.specId, r.payment, feeder, lot, r.lots, r.stage, r.meterIds);
    }

    // ------------------------------------------------------------------------------------------ LINK

    /// @notice Takes LINK for a feeder's requests: `LINK.transferAndCall(market, amount, abi.encode(feeder))`.
    function onTokenTransfer(address from, uint256 amount, bytes calldata data) external {
        if (msg.sender != _chainlinkTokenAddress() || _takingLinkBack) revert NotToken(msg.sender);
        bytes32 feeder = abi.decode(data, (bytes32));
        _feeder(feeder).link += uint96(amount);
        emit LinkFunded(feeder, from, amount);
    }

    /// @notice Takes an expired request's LINK back for its feeder. The readings can still be submitted by anyone.
    /// @param expiration as in the operator's OracleRequest event
    function cancelRequest(bytes32 requestId, uint256 expiration) external {
        Purpose memory purpose = _s.purposes[requestId];
        if (purpose.feeder == 0 || _takingLinkBack) revert UnknownRequest(requestId);
        delete _s.purposes[requestId];
        LinkTokenInterface link = LinkTokenInterface(_chainlinkTokenAddress());
        // What arrives counts, not what the operator says; and nothing that it does meanwhile counts twice.
        uint256 before = link.balanceOf(address(this));
        _takingLinkBack = true;
        _cancelChainlinkRequest(requestId, purpose.payment, this.fulfill.selector, expiration);
        _takingLinkBack = false;
        uint256 arrived = link.balanceOf(address(this)) - before;
        bytes32 feeder = _s.feederIds[purpose.feeder];
        _s.feeders[feeder].link += uint96(arrived);
        emit LinkFunded(feeder, msg.sender, arrived);
    }

    function _withdrawLink(bytes32 feeder, address to, uint256 amount) internal {
        Feeder storage f = _feeder(feeder);
        if (amount > f.link) revert LinkTooLow(feeder, f.link, amount);
        f.link -= uint96(amount);
        emit LinkWithdrawn(feeder, to, amount);
        LinkTokenInterface(_chainlinkTokenAddress()).transfer(to, amount);
    }

    // ------------------------------------------------------------------------------------------ Automation

    /// @notice Chainlink Automation: whether the feeder in `checkData` (abi.encode(bytes32)) has lots to open.
    function checkUpkeep(bytes calldata checkData) external view returns (bool needed, bytes memory performData) {
        bytes32 feeder = abi.decode(checkData, (bytes32));
        uint64 lot;
        (needed, lot) = Requests.upkeep(_s, _lotSeconds, feeder);
        performData = abi.encode(feeder, lot);
    }

    /// @notice Chainlink Automation: opens the lots that `checkUpkeep` named. Anyone may call it, as `openLots`.
    function performUpkeep(bytes calldata performData) external {
        (bytes32 feeder, uint64 lot) = abi.decode(performData, (bytes32, uint64));
        openLots(feeder, lot);
    }
}
