// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Deferral, IEnergyMarket, Refusal, Stage, Terms} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Clearing, MarketState, Progress} from "../MarketState.sol";
import {Charter} from "./Charter.sol";
import {Deliveries, Delivery, Ticket} from "./Deliveries.sol";
import {EnergyShelf} from "./EnergyShelf.sol";
import {LotLanes} from "./LotLanes.sol";
import {LotRecord} from "./LotRecord.sol";
import {Pages} from "./Pages.sol";
import {Settlement} from "./Settlement.sol";
import {SupplyReading} from "./SupplyReading.sol";

/// @title The first two stages: what the plants sent, and what the distributor received
/// @notice A record that cannot be taken is refused by an event and stops no other; a delivery out of turn, or with too
/// little gas, is deferred by an event. Nothing here reverts for what records say.
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit.
library SupplyStages {
    using Charter for bytes;

    // Gas that must be left to begin something, measured and rounded up generously.
    uint256 private constant _GAS_PLANT = 260_000;
    uint256 private constant _GAS_PLANT_LOT = 1_400;
    uint256 private constant _GAS_READ_LOT = 100;
    uint256 private constant _GAS_DISTRIBUTOR = 300_000;
    uint256 private constant _GAS_DISTRIBUTOR_LOT = 2_400;
    uint256 private constant _GAS_DISTRIBUTOR_PLANT = 40_000;
    uint256 private constant _GAS_DISTRIBUTOR_PLANT_LOT = 520; // read from slots
    uint256 private constant _GAS_DISTRIBUTOR_PLANT_LOT_IN_CODE = 120;

    /// @notice Takes records for a page of the plants' stage, or for the distributor's.
    function take(MarketState storage s, Ticket calldata t, bytes calldata records) external {
        Clearing storage c = Deliveries.clearing(s, t.number, t.lot);
        uint256 progress = c.head.stage();
        if (progress > (t.stage == Stage.Plant ? Progress.PLANTS : Progress.DISTRIBUTOR)) return; // it is done
        Delivery memory d = Deliveries.begin(s, t, c, records);
        bool inTurn = s.feeders[d.feeder].clearedLot + 1 == d.firstLot;
        if (t.stage == Stage.Plant) {
            if (!inTurn) return Deliveries.defer(d, Deferral.OutOfTurn);
            Deliveries.page(d, d.charter.plants());
            _takePlants(s, d, c);
        } else {
            if (!inTurn || progress != Progress.DISTRIBUTOR) return Deliveries.defer(d, Deferral.OutOfTurn);
            Deliveries.page(d, 1);
            _takeDistributor(s, d);
        }
    }

    // ------------------------------------------------------------------------------------------ silence

    /// @notice The regulator's estimate for a plant (`t.first`) or the distributor that stays silent.
    /// @param energies 6 bytes a lot, as in a record; none above what the meter can carry
    function estimate(MarketState storage s, Ticket calldata t, bytes calldata energies) external {
        (Delivery memory d, Clearing storage c) = _silence(s, t, energies);
        Terms memory terms = d.charter.terms();
        _notBefore(t, terms.estimateSeconds);
        if (energies.length != 6 * d.lots) revert IMarketErrors.BadEstimate(energies.length, 6 * d.lots);
        (d.account, d.meterIds[0]) = _member(d, t);
        uint256 capacity = d.registry.capacityAt(d.meterIds[0], uint64(d.lot));
        (uint256 energy, bool over) = LotLanes.sum(d.at, d.lots, capacity);
        if (over) revert IMarketErrors.EstimateAboveCapacity(d.meterIds[0], capacity);
        emit IEnergyMarket.Estimated(d.feeder, d.meterIds[0], uint64(d.lot), energies);
        d.head = d.head.withEstimate();
        SupplyReading.fallBehind(s, d, energy);
        if (t.stage == Stage.Distributor) {
            Settlement.settle(s, d, energies);
            return;
        }
        _placePlant(s, d, t.first, d.meterIds[0], energies, energy);
        _savePlants(d, c, d.charter.plants(), c.prices | (1 << t.first));
    }

    /// @notice Closes a stage without those that stay silent: plants count as zero, the distributor as having received
    /// sent · (1 − ideal).
    function abandon(MarketState storage s, Ticket calldata t, bytes calldata none) external {
        (Delivery memory d, Clearing storage c) = _silence(s, t, none);
        _notBefore(t, d.charter.terms().abandonSeconds);
        d.head = d.head.withEstimate();
        if (t.stage == Stage.Distributor) {
            (d.account, d.meterIds[0]) = d.charter.distributor();
            emit IEnergyMarket.Estimated(d.feeder, d.meterIds[0], uint64(d.lot), "");
            SupplyReading.fallBehind(s, d, Settlement.settle(s, d, ""));
            return;
        }
        uint256 plants = d.charter.plants();
        uint256 bits = c.prices;
        for (uint256 i = 0; i < plants; ++i) {
            if (bits & (1 << i) != 0) continue;
            (d.meterIds[0], d.account, ) = d.charter.plantAt(i);
            emit IEnergyMarket.Estimated(d.feeder, d.meterIds[0], uint64(d.lot), "");
            SupplyReading.fallBehind(s, d, 0);
            _placePlant(s, d, i, d.meterIds[0], new bytes(6 * d.lots), 0);
        }
        _savePlants(d, c, plants, (1 << plants) - 1);
    }

    function _silence(
        MarketState storage s,
        Ticket calldata t,
        bytes calldata energies
    ) private view returns (Delivery memory d, Clearing storage c) {
        c = Deliveries.clearing(s, t.number, t.lot);
        d = Deliveries.begin(s, t, c, energies);
        d.meterIds = new bytes32[](1);
        if (s.feeders[d.feeder].clearedLot + 1 != d.firstLot) {
            revert IMarketErrors.NotInTurn(d.feeder, uint64(d.lot));
        }
        uint256 progress = d.head.stage();
        if (progress != uint256(t.stage)) revert IMarketErrors.WrongStage(d.feeder, uint64(d.lot), uint8(progress));
        if (t.stage == Stage.Plant) {
            uint256 plants = d.charter.plants();
            if (t.first >= plants) revert IMarketErrors.PageOutOfRange(uint16(t.first), plants);
            if (energies.length != 0 && c.prices & (1 << t.first) != 0) {
                (bytes32 meterId, , ) = d.charter.plantAt(t.first);
                revert IMarketErrors.AlreadyCleared(d.feeder, meterId, uint64(d.lot));
            }
        }
    }

    function _notBefore(Ticket calldata t, uint256 afterEnd) private view {
        uint256 notBefore = (t.lot + 1) * t.lotSeconds + afterEnd;
        if (block.timestamp < notBefore) revert IMarketErrors.TooEarly(uint64(t.lot), notBefore);
    }

    function _member(Delivery memory d, Ticket calldata t) private pure returns (uint32 account, bytes32 meterId) {
        if (t.stage == Stage.Distributor) return d.charter.distributor();
        (meterId, account, ) = d.charter.plantAt(t.first);
    }

    // ------------------------------------------------------------------------------------------ plants

    function _takePlants(MarketState storage s, Delivery memory d, Clearing storage c) private {
        uint256 plants = d.charter.plants();
        uint256 count = d.count;
        uint32[] memory accounts;
        (d.meterIds, accounts) = d.charter.plantsAt(d.first, count);
        Deliveries.loadKeys(d);

        uint256 bits = c.prices; // until the prices stand there: a bit for each plant that is done
        bool stuck = count == 0;
        for (uint256 i = 0; i < count; ++i) {
            uint256 next = LotRecord.read(d.record, d.at, d.end);
            if (next != 0 && gasleft() < _GAS_PLANT + _GAS_PLANT_LOT * (d.record.lots + d.lots)) {
                _savePlants(d, c, plants, bits);
                return Deliveries.defer(d, Deferral.OutOfGas);
            }
            d.index = i;
            Refusal refusal = Refusal.Malformed;
            if (next != 0) {
                bool done = bits & (1 << (d.first + i)) != 0;
                d.account = accounts[i];
                refusal = done ? Refusal.AlreadyCleared : _takePlant(s, d);
                if (refusal == Refusal.None) bits |= 1 << (d.first + i);
            }
            if (refusal != Refusal.None) {
                if (refusal != Refusal.AlreadyCleared) stuck = true;
                Deliveries.refuse(d, refusal);
            }
            if (next == 0) break;
            d.at = next;
        }
        _savePlants(d, c, plants, bits);
        // an answer that ends early leaves its page open as one with a missing record does
        if (d.requestId != 0 && d.first + count < plants && count < Pages.sizeFor(d.lots)) stuck = true;
        if (stuck) Deliveries.defer(d, Deferral.ReadingMissing);
    }

    function _savePlants(Delivery memory d, Clearing storage c, uint256 plants, uint256 bits) private {
        if (bits == (1 << plants) - 1) d.head = d.head.withStage(Progress.DISTRIBUTOR);
        else c.prices = bits;
        c.head = d.head;
    }

    function _takePlant(MarketState storage s, Delivery memory d) private returns (Refusal) {
        (Refusal refusal, bytes memory energies, uint256 energy) = SupplyReading.measure(s, d);
        if (refusal != Refusal.None) return refusal;
        _placePlant(s, d, d.first + d.index, d.meterIds[d.index], energies, energy);
        return Refusal.None;
    }

    /// @dev A plant's energies enter the clearing: shelved for the distributor's stage, minted, and sent there.
    function _placePlant(
        MarketState storage s,
        Delivery memory d,
        uint256 plant,
        bytes32 meterId,
        bytes memory energies,
        uint256 energy
    ) internal {
        EnergyShelf.put(s.shelves[(d.number << 8) | plant], energies);
        if (energy != 0) {
            (, bytes32 distributorMeter) = d.charter.distributor();
            d.token.mintAndSend(
                Deliveries.accountOfMeter(meterId),
                Deliveries.accountOfMeter(distributorMeter),
                energy * Deliveries.TOKEN_PER_UNIT
            );
        }
        emit IEnergyMarket.PlantCleared(d.feeder, meterId, uint64(d.lot), energy);
    }

    // ------------------------------------------------------------------------------------------ distributor

    function _takeDistributor(MarketState storage s, Delivery memory d) private {
        if (d.count == 0) return Deliveries.defer(d, Deferral.ReadingMissing);
        uint256 plants = d.charter.plants();
        d.meterIds = new bytes32[](1);
        (d.account, d.meterIds[0]) = d.charter.distributor();
        Deliveries.loadKeys(d);
        uint256 next = LotRecord.read(d.record, d.at, d.end);
        if (next != 0 && gasleft() < _gasForPrices(d.lots, plants) + _GAS_READ_LOT * d.record.lots) {
            return Deliveries.defer(d, Deferral.OutOfGas);
        }
        Refusal refusal = Refusal.Malformed;
        bytes memory received;
        if (next != 0) (refusal, received, ) = SupplyReading.measure(s, d);
        if (refusal != Refusal.None) {
            Deliveries.refuse(d, refusal);
            return Deliveries.defer(d, Deferral.ReadingMissing);
        }
        Settlement.settle(s, d, received);
    }

    function _gasForPrices(uint256 lots, uint256 plants) internal pure returns (uint256) {
        return
            _GAS_DISTRIBUTOR +
            _GAS_DISTRIBUTOR_LOT * lots +
            plants *
                (_GAS_DISTRIBUTOR_PLANT +
                    lots *
                        (
                            lots > EnergyShelf.MAX_SLOT_LOTS
                                ? _GAS_DISTRIBUTOR_PLANT_LOT_IN_CODE
                                : _GAS_DISTRIBUTOR_PLANT_LOT
                        ));
    }
}
