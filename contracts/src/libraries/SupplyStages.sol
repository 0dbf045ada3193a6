// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Deferral, IEnergyMarket, Refusal, Stage, Terms} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Account, Clearing, Feeder, MarketState, Progress} from "../MarketState.sol";
import {Accounts} from "./Accounts.sol";
import {AccountWord, AccountWordLib} from "./AccountWord.sol";
import {Charter} from "./Charter.sol";
import {ClearingMath} from "./ClearingMath.sol";
import {Deliveries, Delivery, Ticket} from "./Deliveries.sol";
import {EnergyShelf} from "./EnergyShelf.sol";
import {LotLanes} from "./LotLanes.sol";
import {LotRecord} from "./LotRecord.sol";
import {MeterKey} from "./MeterKey.sol";
import {PriceList} from "./PriceList.sol";

/// @title The first two stages: what the plants sent, and what the distributor received
/// @notice A record that cannot be taken is refused by an event and stops no other; a delivery out of turn, or with too
/// little gas, is deferred by an event. Nothing here reverts for what records say.
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit.
library SupplyStages {
    using Charter for bytes;

    uint256 private constant _MAX_LANE = 2 ** 48 - 1;

    // Gas that must be left to begin something, measured and rounded up generously.
    uint256 private constant _GAS_PLANT = 260_000;
    uint256 private constant _GAS_PLANT_LOT = 1_400;
    uint256 private constant _GAS_DISTRIBUTOR = 300_000;
    uint256 private constant _GAS_DISTRIBUTOR_LOT = 2_600;
    uint256 private constant _GAS_DISTRIBUTOR_PLANT = 60_000;
    uint256 private constant _GAS_DISTRIBUTOR_PLANT_LOT = 520;

    /// @notice Takes records for a page of the plants' stage, or for the distributor's.
    function take(MarketState storage s, Ticket calldata t, bytes calldata records) external {
        Clearing storage c = Deliveries.clearing(s, t.number, t.lot);
        uint256 progress = c.stage;
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
            _takeDistributor(s, d, c);
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
        c.estimated = true;
        _fallBehind(s, d, energy);
        if (t.stage == Stage.Distributor) {
            _price(s, d, c, energies);
            return;
        }
        _placePlant(s, d, t.first, d.meterIds[0], energies, energy);
        _savePlants(c, d.charter.plants(), c.prices | (1 << t.first));
    }

    /// @notice Closes a stage without those that stay silent: plants count as zero, the distributor as having received
    /// sent · (1 − ideal).
    function abandon(MarketState storage s, Ticket calldata t, bytes calldata none) external {
        (Delivery memory d, Clearing storage c) = _silence(s, t, none);
        _notBefore(t, d.charter.terms().abandonSeconds);
        c.estimated = true;
        if (t.stage == Stage.Distributor) {
            (d.account, d.meterIds[0]) = d.charter.distributor();
            emit IEnergyMarket.Estimated(d.feeder, d.meterIds[0], uint64(d.lot), "");
            _fallBehind(s, d, _price(s, d, c, ""));
            return;
        }
        uint256 plants = d.charter.plants();
        uint256 bits = c.prices;
        for (uint256 i = 0; i < plants; ++i) {
            if (bits & (1 << i) != 0) continue;
            (d.meterIds[0], d.account, ) = d.charter.plantAt(i);
            emit IEnergyMarket.Estimated(d.feeder, d.meterIds[0], uint64(d.lot), "");
            _fallBehind(s, d, 0);
            _placePlant(s, d, i, d.meterIds[0], new bytes(6 * d.lots), 0);
        }
        _savePlants(c, plants, (1 << plants) - 1);
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
        if (c.stage != uint8(t.stage)) revert IMarketErrors.WrongStage(d.feeder, uint64(d.lot), c.stage);
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

    /// @dev The meter's own cursor stays where it is; what was taken for it is set off against its later reading.
    function _fallBehind(MarketState storage s, Delivery memory d, uint256 energy) private {
        Account storage a = s.accounts[d.account];
        AccountWord word = a.word;
        if (word.cursor() + 1 == d.firstLot) {
            Feeder storage f = s.feeders[d.feeder];
            // at its highest it stays: those who leave while they are behind never come to be subtracted
            if (f.silent != type(uint8).max) f.silent += 1;
        }
        a.word = word.set(AccountWordLib.BEHIND);
        a.carried -= int128(int256(energy));
    }

    // ------------------------------------------------------------------------------------------ plants

    function _takePlants(MarketState storage s, Delivery memory d, Clearing storage c) private {
        uint256 plants = d.charter.plants();
        uint256 count = d.count;
        d.meterIds = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) (d.meterIds[i], , ) = d.charter.plantAt(d.first + i);
        Deliveries.loadKeys(d);

        uint256 bits = c.prices; // until the prices stand there: a bit for each plant that is done
        bool stuck = count == 0;
        for (uint256 i = 0; i < count; ++i) {
            uint256 next = LotRecord.read(d.record, d.at, d.end);
            if (next != 0 && gasleft() < _GAS_PLANT + _GAS_PLANT_LOT * (d.record.lots + d.lots)) {
                _savePlants(c, plants, bits);
                return Deliveries.defer(d, Deferral.OutOfGas);
            }
            d.index = i;
            Refusal refusal = Refusal.Malformed;
            if (next != 0) {
                bool done = bits & (1 << (d.first + i)) != 0;
                refusal = done ? Refusal.AlreadyCleared : _takePlant(s, d, c);
                if (refusal == Refusal.None) bits |= 1 << (d.first + i);
            }
            if (refusal != Refusal.None) {
                if (refusal != Refusal.AlreadyCleared) stuck = true;
                Deliveries.refuse(d, refusal);
            }
            if (next == 0) break;
            d.at = next;
        }
        _savePlants(c, plants, bits);
        if (stuck) Deliveries.defer(d, Deferral.ReadingMissing);
    }

    function _savePlants(Clearing storage c, uint256 plants, uint256 bits) private {
        if (bits == (1 << plants) - 1) c.stage = Progress.DISTRIBUTOR;
        else c.prices = bits;
    }

    function _takePlant(MarketState storage s, Delivery memory d, Clearing storage c) private returns (Refusal) {
        (, d.account, ) = d.charter.plantAt(d.first + d.index);
        (Refusal refusal, bytes memory energies, uint256 energy) = _measure(s, d, c);
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

    /// @dev Checks a plant's or the distributor's record and returns what enters the clearing, lot by lot.
    function _measure(
        MarketState storage s,
        Delivery memory d,
        Clearing storage c
    ) private returns (Refusal refusal, bytes memory energies, uint256 energy) {
        refusal = Deliveries.check(s, d);
        if (refusal != Refusal.None) return (refusal, energies, 0);
        MeterKey key = MeterKey.wrap(d.keys[d.index]);
        bool over;
        (energy, over) = LotLanes.sum(d.offset, d.lag, key.capacity());
        refusal = Deliveries.advance(d, energy);
        if (refusal != Refusal.None) return (refusal, energies, 0);

        bool behind = d.word.has(AccountWordLib.BEHIND);
        s.accounts[d.account].word = d.word.unset(AccountWordLib.BEHIND);
        if (over || behind || d.lag != d.lots || key.fromLot() > d.firstLot) return _correct(s, d, c);
        uint256 size = 6 * d.lag;
        uint256 offset = d.offset;
        energies = new bytes(size);
        assembly ("memory-safe") {
            calldatacopy(add(energies, 32), offset, size)
        }
    }

    /// @dev The careful way: each lot is cut to the capacity of its time; what the reading says about lots that were
    /// closed without it, less what was estimated, is added to the first open lot, and what does not fit there is carried.
    function _correct(
        MarketState storage s,
        Delivery memory d,
        Clearing storage c
    ) private returns (Refusal, bytes memory energies, uint256 energy) {
        Account storage a = s.accounts[d.account];
        int256 carried = a.carried;
        uint256 cut = 0;
        uint256 late = d.lag - d.lots;
        for (uint256 i = 0; i < late; ++i) {
            (uint256 e, uint256 above) = Deliveries.capped(d, i);
            cut += above;
            carried += int256(e);
        }
        if (late != 0) {
            Feeder storage f = s.feeders[d.feeder];
            if (f.silent != type(uint8).max) f.silent -= 1;
        }
        int256 before = carried;
        energies = new bytes(6 * d.lots);
        uint256 corrected = 0;
        for (uint256 i = 0; i < d.lots; ++i) {
            (uint256 e, uint256 above) = Deliveries.capped(d, late + i);
            cut += above;
            if (carried != 0) {
                int256 wanted = int256(e) + carried;
                e =
                    wanted < 0
                        ? 0
                        : uint256(wanted) > _MAX_LANE
                            ? _MAX_LANE
                            : uint256(wanted);
                carried = wanted - int256(e);
                corrected = i + 1;
            }
            energy += e;
            _putLane(energies, i, e);
        }
        if (corrected > c.corrected) c.corrected = uint16(corrected);
        a.carried = int128(carried);
        if (carried != 0) a.word = a.word.set(AccountWordLib.BEHIND);
        if (before != carried || late != 0) {
            emit IEnergyMarket.Corrected(d.feeder, d.meterIds[d.index], uint64(d.lot), before - carried, carried);
        }
        if (cut != 0) emit IEnergyMarket.CapacityExceeded(d.feeder, d.meterIds[d.index], uint64(d.lot), cut);
        return (Refusal.None, energies, energy);
    }

    function _putLane(bytes memory energies, uint256 index, uint256 energy) internal pure {
        assembly ("memory-safe") {
            let at := add(add(energies, 32), mul(6, index))
            mstore(at, or(shl(208, energy), shr(48, shl(48, mload(at)))))
        }
    }

    // ------------------------------------------------------------------------------------------ distributor

    function _takeDistributor(MarketState storage s, Delivery memory d, Clearing storage c) private {
        if (d.count == 0) return Deliveries.defer(d, Deferral.ReadingMissing);
        uint256 plants = d.charter.plants();
        d.meterIds = new bytes32[](1);
        (d.account, d.meterIds[0]) = d.charter.distributor();
        Deliveries.loadKeys(d);
        uint256 next = LotRecord.read(d.record, d.at, d.end);
        if (next != 0 && gasleft() < _gasForPrices(d.lots, plants) + _GAS_PLANT_LOT * d.record.lots) {
            return Deliveries.defer(d, Deferral.OutOfGas);
        }
        Refusal refusal = Refusal.Malformed;
        bytes memory received;
        if (next != 0) (refusal, received, ) = _measure(s, d, c);
        if (refusal != Refusal.None) {
            Deliveries.refuse(d, refusal);
            return Deliveries.defer(d, Deferral.ReadingMissing);
        }
        _price(s, d, c, received);
    }

    function _gasForPrices(uint256 lots, uint256 plants) internal pure returns (uint256) {
        return
            _GAS_DISTRIBUTOR +
            _GAS_DISTRIBUTOR_LOT * lots +
            plants * (_GAS_DISTRIBUTOR_PLANT + _GAS_DISTRIBUTOR_PLANT_LOT * lots);
    }

    /// @dev Prices every lot, burns what was lost, and settles what the distributor owes the plants.
    /// @param received the distributor's energies, 6 bytes a lot; empty: none came, and it counts as sent · (1 − ideal)
    /// @return estimated what it was taken to have received, when none came
    function _price(
        MarketState storage s,
        Delivery memory d,
        Clearing storage c,
        bytes memory received
    ) internal returns (uint256 estimated) {
        (uint256[] memory flows, uint256[] memory totals) = _flows(s, d);
        bool silent = received.length == 0;
        if (silent) received = _idealReceipt(d, flows);
        uint256 sent;
        uint256 taken;
        uint256 available;
        (sent, taken, available) = _priceLots(d, c, flows, received);
        if (silent) estimated = taken;
        c.available = uint80(available);
        if (d.lots == 1) c.price = uint64(flows[0]);
        else c.prices = PriceList.write(flows);
        c.stage = Progress.CONSUMERS;
        s.feeders[d.feeder].clearedLot = uint40(d.lot);

        (uint32 account, bytes32 meterId) = d.charter.distributor();
        emit IEnergyMarket.DistributorCleared(d.feeder, meterId, uint64(d.lot), sent, taken, available);
        if (sent != available) {
            Deliveries.burn(d.token, meterId, (sent - available));
        }
        _payPlants(s, d, account, totals);
        if (c.consumers == 0) Deliveries.close(d.token, d.feeder, d.lot, c, meterId, 0);
    }

    /// @dev Per lot: Σ energy in the low 64 bits, Σ energy · price above; per plant: Σ energy.
    function _flows(
        MarketState storage s,
        Delivery memory d
    ) private view returns (uint256[] memory flows, uint256[] memory totals) {
        uint256 plants = d.charter.plants();
        uint256 lots = d.lots;
        flows = new uint256[](lots);
        totals = new uint256[](plants);
        for (uint256 p = 0; p < plants; ++p) {
            (uint256 width, uint256 from) = EnergyShelf.get(s.shelves[(d.number << 8) | p], lots);
            (, , uint256 price) = d.charter.plantAt(p);
            uint256 total = 0;
            assembly ("memory-safe") {
                let weight := or(shl(64, price), 1)
                let shift := sub(256, shl(3, width))
                let to := add(flows, 32)
                for {
                    let end := add(to, shl(5, lots))
                } lt(to, end) {
                    to := add(to, 32)
                } {
                    let e := shr(shift, mload(from))
                    from := add(from, width)
                    total := add(total, e)
                    mstore(to, add(mload(to), mul(e, weight)))
                }
            }
            totals[p] = total;
        }
    }

    function _idealReceipt(Delivery memory d, uint256[] memory flows) private pure returns (bytes memory received) {
        received = new bytes(6 * d.lots);
        uint256 kept = ClearingMath.BPS - d.charter.tariff().idealLossBps;
        for (uint256 i = 0; i < d.lots; ++i) {
            uint256 e = (uint64(flows[i]) * kept) / ClearingMath.BPS;
            _putLane(received, i, e > _MAX_LANE ? _MAX_LANE : e);
        }
    }

    /// @dev Turns the flows into prices, in place.
    function _priceLots(
        Delivery memory d,
        Clearing storage c,
        uint256[] memory flows,
        bytes memory received
    ) private view returns (uint256 sent, uint256 taken, uint256 available) {
        ClearingMath.Tariff memory tariff = d.charter.tariff();
        uint256 waived = c.estimated ? d.lots : c.corrected;
        uint256 lots = d.lots;
        unchecked {
            for (uint256 i = 0; i < lots; ++i) {
                uint256 flow = flows[i];
                uint256 lotSent = uint64(flow);
                uint256 lotReceived;
                assembly ("memory-safe") {
                    lotReceived := shr(208, mload(add(add(received, 32), mul(6, i))))
                }
                flows[i] = ClearingMath.pricePerKWhDown(lotSent, flow >> 64, lotReceived, tariff, i < waived);
                sent += lotSent;
                taken += lotReceived;
                available += lotSent < lotReceived ? lotSent : lotReceived;
            }
        }
    }

    /// @dev The distributor owes each plant; what it cannot pay becomes arrears, shared pro rata.
    function _payPlants(MarketState storage s, Delivery memory d, uint32 distributor, uint256[] memory totals) private {
        uint256[] memory dues = new uint256[](totals.length);
        uint256 due = 0;
        for (uint256 p = 0; p < totals.length; ++p) {
            (bytes32 meterId, uint32 plant, uint256 price) = d.charter.plantAt(p);
            AccountWord word = s.accounts[plant].word;
            uint256 rest;
            (dues[p], rest) = ClearingMath.moneyDown(totals[p] * price, word.remainder());
            s.accounts[plant].word = word.withRemainder(rest);
            due += dues[p];
            emit IEnergyMarket.PlantPaid(d.feeder, meterId, uint64(d.lot), dues[p]);
        }
        AccountWord payer = s.accounts[distributor].word;
        uint256 balance = payer.balance();
        bool short = balance < due;
        if (!short) {
            payer = payer.withBalance(balance - due);
            payer = Deliveries.watchReserve(distributor, payer, d.charter.reserve());
            s.accounts[distributor].word = payer;
        }
        for (uint256 p = 0; p < totals.length; ++p) {
            (, uint32 plant, ) = d.charter.plantAt(p);
            if (short) Accounts.owe(s, distributor, plant, dues[p]);
            else Accounts.credit(s, plant, dues[p]);
        }
        if (!short) return;
        payer = Deliveries.watchReserve(distributor, payer.withBalance(0), d.charter.reserve());
        s.accounts[distributor].word = payer.set(AccountWordLib.ARREARS);
        Accounts.credit(s, distributor, balance);
        for (uint256 p = 0; p < totals.length; ++p) {
            (, uint32 plant, ) = d.charter.plantAt(p);
            Accounts.collect(s, distributor, plant);
        }
    }
}
