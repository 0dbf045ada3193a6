// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Stage} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Clearing, MarketState, Progress} from "../MarketState.sol";
import {Charter} from "./Charter.sol";
import {ClearingHead} from "./ClearingHead.sol";
import {CodeStore} from "./CodeStore.sol";
import {Deliveries} from "./Deliveries.sol";
import {FeederCharters} from "./FeederCharters.sol";
import {PriceList} from "./PriceList.sol";

/// @title What can be read of clearings
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit.
library MarketViews {
    using Charter for bytes;

    /// @notice A clearing as it stands; energies in Units.
    struct ClearingView {
        uint64 firstLot;
        uint32 lots;
        uint8 stage; // 0 plants, 1 distributor, 2 consumers, 3 closed
        uint32 consumers;
        uint32 consumersDone;
        bool estimated;
        uint256 available;
        uint256 used;
        uint256 tokens; // still at the distributor's meter
        uint256 delivered; // min(available, used)
        uint256 unaccounted; // max(available − used, 0)
        uint256 overdrawn; // max(used − available, 0)
    }

    function pricePerKWh(MarketState storage s, bytes32 feeder, uint64 lot) external view returns (uint64) {
        uint256 number = _number(s, feeder);
        if (lot > type(uint40).max) revert IMarketErrors.UnknownClearing(feeder, lot);
        // a clearing is kept under its last lot, which is at most so many lots away
        for (uint256 last = lot; last < uint256(lot) + FeederCharters.MAX_LOTS; ++last) {
            Clearing storage c = s.clearings[(number << 40) | last];
            ClearingHead head = c.head;
            if (head.lots() == 0) continue;
            uint256 firstLot = last + 1 - head.lots();
            if (firstLot > lot) break;
            if (head.stage() < Progress.CONSUMERS) {
                revert IMarketErrors.WrongStage(feeder, uint64(last), uint8(head.stage()));
            }
            return uint64(PriceList.read(c)[lot - firstLot]);
        }
        revert IMarketErrors.UnknownClearing(feeder, lot);
    }

    function clearingOf(
        MarketState storage s,
        bytes32 feeder,
        uint64 lot
    ) external view returns (ClearingView memory v) {
        (ClearingHead head, bytes memory charter) = _clearing(s, feeder, lot);
        v.lots = uint32(head.lots());
        v.firstLot = lot + 1 - v.lots;
        v.stage = uint8(head.stage());
        v.consumers = uint32(charter.consumers());
        v.consumersDone = uint32(head.consumersDone());
        v.estimated = head.estimated();
        (v.available, v.used) = head.sums();
        v.tokens = Deliveries.tokensLeft(head);
        v.delivered = v.available < v.used ? v.available : v.used;
        v.unaccounted = v.available - v.delivered;
        v.overdrawn = v.used - v.delivered;
    }

    function membersOf(
        MarketState storage s,
        bytes32 feeder,
        uint64 lot,
        Stage stage
    ) external view returns (bytes32[] memory meterIds, uint32[] memory accounts) {
        (, bytes memory charter) = _clearing(s, feeder, lot);
        if (stage == Stage.Consumers) return charter.consumersAt(0, charter.consumers());
        if (stage == Stage.Plant) return charter.plantsAt(0, charter.plants());
        meterIds = new bytes32[](1);
        accounts = new uint32[](1);
        (accounts[0], meterIds[0]) = charter.distributor();
    }

    function _number(MarketState storage s, bytes32 feeder) private view returns (uint256 number) {
        number = s.feeders[feeder].number;
        if (number == 0) revert IMarketErrors.UnknownFeeder(feeder);
    }

    function _clearing(
        MarketState storage s,
        bytes32 feeder,
        uint64 lot
    ) private view returns (ClearingHead head, bytes memory charter) {
        uint256 number = _number(s, feeder);
        head = s.clearings[(number << 40) | lot].head;
        if (lot > type(uint40).max || head.lots() == 0) revert IMarketErrors.UnknownClearing(feeder, lot);
        charter = CodeStore.read(s.charters[(number << 24) | head.charter()].code);
    }
}
