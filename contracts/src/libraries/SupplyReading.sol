// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IEnergyMarket, Refusal} from "../interfaces/IEnergyMarket.sol";
import {Account, Feeder, MarketState} from "../MarketState.sol";
import {AccountWord, AccountWordLib} from "./AccountWord.sol";
import {Deliveries, Delivery} from "./Deliveries.sol";
import {LotLanes} from "./LotLanes.sol";
import {MeterKey} from "./MeterKey.sol";
import {Replacement} from "./Replacement.sol";

/// @title What a plant's or the distributor's record adds to a clearing
/// @notice Measured, cut to its meter's capacity, and corrected by what came too late for earlier clearings. Energies in
/// Units, 6 bytes big-endian a lot.
library SupplyReading {
    uint256 private constant _MAX_LANE = 2 ** 48 - 1;

    /// @dev Checks a plant's or the distributor's record and returns what enters the clearing, lot by lot.
    function measure(
        MarketState storage s,
        Delivery memory d
    ) internal returns (Refusal refusal, bytes memory energies, uint256 energy) {
        takeOver(s, d);
        refusal = Deliveries.check(s, d);
        if (refusal != Refusal.None) return (refusal, energies, 0);
        MeterKey key = MeterKey.wrap(d.keys[d.index]);
        bool over;
        (energy, over) = LotLanes.sum(d.offset, d.lag, key.capacity());
        refusal = Deliveries.advance(d, energy);
        if (refusal != Refusal.None) return (refusal, energies, 0);

        bool behind = d.word.has(AccountWordLib.BEHIND);
        s.accounts[d.account].word = d.word.unset(AccountWordLib.BEHIND);
        if (over || behind || d.lag != d.lots || key.fromLot() > d.firstLot) return _correct(s, d);
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
        Delivery memory d
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
        if (late != 0) _catchUp(s, d);
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
            putLane(energies, i, e);
        }
        if (corrected > d.head.corrected()) d.head = d.head.withCorrected(corrected);
        a.carried = int128(carried);
        if (carried != 0) a.word = a.word.set(AccountWordLib.BEHIND);
        if (before != carried || late != 0) {
            emit IEnergyMarket.Corrected(d.feeder, d.meterIds[d.index], uint64(d.lot), before - carried, carried);
        }
        if (cut != 0) emit IEnergyMarket.CapacityExceeded(d.feeder, d.meterIds[d.index], uint64(d.lot), cut);
        return (Refusal.None, energies, energy);
    }

    function putLane(bytes memory energies, uint256 index, uint256 energy) internal pure {
        assembly ("memory-safe") {
            let at := add(add(energies, 32), mul(6, index))
            mstore(at, or(shl(208, energy), shr(48, shl(48, mload(at)))))
        }
    }

    /// @dev The meter's own cursor stays where it is; what was taken for it is set off against its later reading.
    function fallBehind(MarketState storage s, Delivery memory d, uint256 energy) internal {
        takeOver(s, d);
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

    /// @dev A meter that took another's place takes over in the first clearing of its own; see Replacement.
    function takeOver(MarketState storage s, Delivery memory d) internal {
        Account storage a = s.accounts[d.account];
        AccountWord word = a.word;
        if (!word.has(AccountWordLib.REPLACED)) return;
        uint256 lost;
        (word, lost, ) = Replacement.takeOver(a, word, d.registry, d.meterIds[d.index], d.lot, d.lotSeconds, 0);
        if (lost != 0) {
            // the estimate stands: nothing will come to be set off against it
            word = word.unset(AccountWordLib.BEHIND);
            a.carried = 0;
            _catchUp(s, d);
        }
        a.word = word;
    }

    function _catchUp(MarketState storage s, Delivery memory d) private {
        Feeder storage f = s.feeders[d.feeder];
        if (f.silent != type(uint8).max) f.silent -= 1;
    }
}
