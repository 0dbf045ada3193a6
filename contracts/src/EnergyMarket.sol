// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AutomationCompatibleInterface} from "@chainlink/contracts/src/v0.8/automation/interfaces/AutomationCompatibleInterface.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IEnergyMarket, OracleSeat, PlantSeat, Stage, Terms} from "./interfaces/IEnergyMarket.sol";
import {IEnergyToken} from "./interfaces/IEnergyToken.sol";
import {IMeterRegistry} from "./interfaces/IMeterRegistry.sol";
import {IMeterUser} from "./interfaces/IMeterUser.sol";
import {ConsumerStage} from "./libraries/ConsumerStage.sol";
import {Ticket} from "./libraries/Deliveries.sol";
import {FeederCharters} from "./libraries/FeederCharters.sol";
import {MarketViews} from "./libraries/MarketViews.sol";
import {Purpose} from "./libraries/Purpose.sol";
import {SupplyStages} from "./libraries/SupplyStages.sol";
import {LotReadingClient} from "./LotReadingClient.sol";
import {MarketBase} from "./MarketBase.sol";
import {Account, Feeder} from "./MarketState.sol";
import {Openings} from "./Openings.sol";
import {Participants} from "./Participants.sol";

/// @title Clears power networks lot by lot
/// @notice The interface says what each function does. Energies in Units (0.1 µkWh), money in wei, prices in wei per kWh.
contract EnergyMarket is Openings, Participants, AccessManaged, IMeterUser, IERC165 {
    /// @param authority the AccessManager that says who the regulator is, with which delays
    constructor(
        address authority,
        IMeterRegistry registry_,
        IEnergyToken token_,
        address link
    ) MarketBase(token_) LotReadingClient(registry_, link) AccessManaged(authority) {
        if (token_.market() != address(this)) revert WrongMarket(address(token_));
    }

    // ------------------------------------------------------------------------------------------ delivery

    /// @inheritdoc IEnergyMarket
    function submit(bytes32 feeder, uint64 lot, uint8 stage, uint16 first, bytes calldata records) external {
        Stage which = _stageOf(stage);
        _take(which, _ticket(0, _opened(feeder, lot), lot, which, first), records);
    }

    /// @inheritdoc IEnergyMarket
    function close(bytes32 feeder, uint64 lot) external {
        ConsumerStage.close(_s, _ticket(0, _opened(feeder, lot), lot, Stage.Consumers, 0), feeder);
    }

    /// @notice The regulator's estimate for the plant at `first`, or for the distributor, once `estimateSeconds` after
    /// the lot's end are over. Its later reading, less this, is added to its first open lot.
    /// @param energies Units, 6 bytes big-endian a lot, oldest first
    function estimate(
        bytes32 feeder,
        uint64 lot,
        uint8 stage,
        uint16 first,
        bytes calldata energies
    ) external restricted {
        SupplyStages.estimate(_s, _ticket(0, _opened(feeder, lot), lot, _stageOf(stage), first), energies);
    }

    /// @notice Goes on without the plants, or the distributor, that stay silent, once `abandonSeconds` after the lot's
    /// end are over; by anyone.
    function abandon(bytes32 feeder, uint64 lot, uint8 stage) external {
        SupplyStages.abandon(_s, _ticket(0, _opened(feeder, lot), lot, _stageOf(stage), 0), msg.data[0:0]);
    }

    function _onRecords(bytes32 requestId, uint96 purpose, bytes calldata records) internal override {
        (uint256 number, uint256 lot, Stage stage, uint256 first) = Purpose.unpack(purpose);
        _take(stage, _ticket(requestId, number, lot, stage, first), records);
    }

    function _take(Stage stage, Ticket memory t, bytes calldata records) private {
        if (stage == Stage.Consumers) ConsumerStage.take(_s, t, records);
        else SupplyStages.take(_s, t, records);
    }

    function _ticket(
        bytes32 requestId,
        uint256 number,
        uint256 lot,
        Stage stage,
        uint256 first
    ) private view returns (Ticket memory) {
        return Ticket(registry, token, _lotSeconds, requestId, number, lot, stage, first);
    }

    /// @dev The feeder's number, if the clearing is there.
    function _opened(bytes32 feeder, uint64 lot) private view returns (uint256 number) {
        number = _feeder(feeder).number;
        // a clearing's key has 40 bits for the lot: more of them would name another feeder's
        if (lot > type(uint40).max || _s.clearings[(number << 40) | lot].head.lots() == 0)
            revert UnknownClearing(feeder, lot);
    }

    // ------------------------------------------------------------------------------------------ the regulator

    /// @inheritdoc IEnergyMarket
    function createFeeder(string calldata name) external restricted returns (bytes32 feeder) {
        return FeederCharters.create(_s, name);
    }

    /// @inheritdoc IEnergyMarket
    function setCharter(
        bytes32 feeder,
        uint64 fromLot,
        Terms calldata terms,
        uint32 distributor,
        PlantSeat[] calldata plants
    ) external restricted {
        FeederCharters.setCharter(_s, registry, feeder, fromLot, terms, distributor, plants);
    }

    /// @inheritdoc IEnergyMarket
    function listConsumers(bytes32 feeder, uint64 fromLot, uint32[] calldata accounts) external restricted {
        FeederCharters.list(_s, registry, feeder, fromLot, accounts);
    }

    /// @inheritdoc IEnergyMarket
    function delistConsumers(bytes32 feeder, uint64 fromLot, uint32[] calldata accounts) external restricted {
        FeederCharters.delist(_s, registry, feeder, fromLot, accounts);
    }

    /// @inheritdoc IEnergyMarket
    function setOperators(bytes32 feeder, OracleSeat[] calldata operators) external restricted {
        FeederCharters.setOperators(_s, feeder, operators);
    }

    /// @inheritdoc IEnergyMarket
    function replaceMeter(uint32 account, bytes32 meterId, uint64 fromLot) external restricted {
        FeederCharters.replaceMeter(_s, registry, account, meterId, fromLot);
    }

    /// @inheritdoc IEnergyMarket
    function pauseOpenings(bytes32 feeder, bool paused) external restricted {
        _feeder(feeder).paused = paused;
        emit OpeningsPaused(feeder, paused);
    }

    /// @notice Takes LINK out of a feeder's balance.
    function withdrawLink(bytes32 feeder, address to, uint256 amount) external restricted {
        _withdrawLink(feeder, to, amount);
    }

    // ------------------------------------------------------------------------------------------ views

    /// @inheritdoc IEnergyMarket
    function pricePerKWh(bytes32 feeder, uint64 lot) external view returns (uint64) {
        return MarketViews.pricePerKWh(_s, feeder, lot);
    }

    /// @notice A clearing as it stands. `stage`: 0 plants, 1 distributor, 2 consumers, 3 closed. Energies in Units.
    function clearingOf(bytes32 feeder, uint64 lot) external view returns (MarketViews.ClearingView memory) {
        return MarketViews.clearingOf(_s, feeder, lot);
    }

    /// @notice How far a feeder is.
    function feederOf(
        bytes32 feeder
    ) external view returns (uint64 openedLot, uint64 clearedLot, uint96 link, bool paused) {
        Feeder storage f = _feeder(feeder);
        return (f.openedLot, f.clearedLot, f.link, f.paused);
    }

    /// @notice The members of a clearing's stage, in the order of their records.
    function membersOf(
        bytes32 feeder,
        uint64 lot,
        uint8 stage
    ) external view returns (bytes32[] memory meterIds, uint32[] memory accounts) {
        return MarketViews.membersOf(_s, feeder, lot, _stageOf(stage));
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return
            interfaceId == type(IERC165).interfaceId ||
            interfaceId == type(IERC5267).interfaceId ||
            interfaceId == type(IMeterUser).interfaceId ||
            interfaceId == type(AutomationCompatibleInterface).interfaceId ||
            interfaceId == this.onTokenTransfer.selector;
    }

    /// @inheritdoc IMeterUser
    function nextLotOf(bytes32 meterId) external view returns (uint64 lot) {
        Account storage a = _s.accounts[_s.seats[meterId]];
        if (a.owner == address(0)) return 0;
        uint64 opened = _s.feeders[_s.feederIds[a.feeder]].openedLot;
        return a.endLot == 0 || a.endLot > opened ? opened + 1 : 0;
    }
}
