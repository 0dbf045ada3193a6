// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Deferral, IEnergyMarket, Refusal, Stage} from "../interfaces/IEnergyMarket.sol";
import {IEnergyToken} from "../interfaces/IEnergyToken.sol";
import {IMeterRegistry} from "../interfaces/IMeterRegistry.sol";
import {Clearing, MarketState, Progress} from "../MarketState.sol";
import {AccountWord, AccountWordLib} from "./AccountWord.sol";
import {Charter} from "./Charter.sol";
import {ClearingHead} from "./ClearingHead.sol";
import {CodeStore} from "./CodeStore.sol";
import {LotLanes} from "./LotLanes.sol";
import {LotRecord} from "./LotRecord.sol";
import {MeterKey} from "./MeterKey.sol";
import {Replacement} from "./Replacement.sol";

/// @notice Which page of which stage a delivery is for.
struct Ticket {
    IMeterRegistry registry;
    IEnergyToken token;
    uint256 lotSeconds;
    bytes32 requestId; // 0: submitted, not requested
    uint256 number; // the feeder's
    uint256 lot; // the clearing's last
    Stage stage;
    uint256 first; // the page's first member
}

/// @notice What one delivery works on.
struct Delivery {
    IMeterRegistry registry;
    IEnergyToken token;
    uint256 lotSeconds;
    bytes32 requestId;
    bytes32 feeder;
    uint256 number;
    uint256 lot;
    uint256 firstLot;
    uint256 lots;
    ClearingHead head; // the clearing's, as it will be written back
    Stage stage;
    uint256 first;
    uint256 count; // records that are looked at
    uint256 at; // position in calldata
    uint256 end;
    bytes charter;
    bytes32 domain;
    uint256[] keys;
    bytes32[] meterIds;
    // ---- the record at hand, and whose it is
    LotRecord.Record record;
    uint256 index;
    uint32 account;
    AccountWord word;
    uint256 lag; // lots since its cursor
    uint256 offset; // position in calldata of their energies
}

/// @title What the stages share: reading a delivery's records and checking each
library Deliveries {
    using Charter for bytes;

    uint256 internal constant TOKEN_PER_UNIT = 10 ** 11;

    function begin(
        MarketState storage s,
        Ticket calldata t,
        Clearing storage c,
        bytes calldata records
    ) internal view returns (Delivery memory d) {
        ClearingHead head = c.head;
        d.head = head;
        d.charter = CodeStore.read(s.charters[(t.number << 24) | head.charter()].code);
        d.registry = t.registry;
        d.token = t.token;
        d.lotSeconds = t.lotSeconds;
        d.requestId = t.requestId;
        d.feeder = d.charter.feeder();
        d.number = t.number;
        d.lot = t.lot;
        d.lots = head.lots();
        d.firstLot = t.lot + 1 - d.lots;
        d.stage = t.stage;
        d.first = t.first;
        uint256 at;
        assembly ("memory-safe") {
            at := records.offset
        }
        d.at = at;
        d.end = at + records.length;
    }

    /// @dev Counts the records, at most as many as the page has members.
    function page(Delivery memory d, uint256 members) internal pure {
        d.count = LotRecord.count(d.at, d.end, d.first < members ? members - d.first : 0);
    }

    function loadKeys(Delivery memory d) internal view {
        (d.domain, d.keys) = d.registry.keysAt(d.meterIds, uint64(d.lot));
    }

    function clearing(MarketState storage s, uint256 number, uint256 lot) internal view returns (Clearing storage) {
        return s.clearings[(number << 40) | lot];
    }

    /// @dev The token account of a meter: nobody holds a key to it, so it can register no ERC777 hook.
    function accountOfMeter(bytes32 meterId) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked("Bijuli meter", meterId)))));
    }

    function burn(IEnergyToken token, bytes32 meterId, uint256 units) internal {
        token.burnFrom(accountOfMeter(meterId), units * TOKEN_PER_UNIT);
    }

    function defer(Delivery memory d, Deferral reason) internal {
        emit IEnergyMarket.Deferred(d.requestId, d.feeder, uint64(d.lot), d.stage, uint16(d.first), reason);
    }

    function refuse(Delivery memory d, Refusal reason) internal {
        emit IEnergyMarket.ReadingRefused(d.feeder, d.meterIds[d.index], uint64(d.lot), d.stage, reason);
    }

    /// @dev What can be said of the record at hand before its energies are looked at; notes where they are.
    function check(MarketState storage s, Delivery memory d) internal view returns (Refusal) {
        uint256 lots = d.record.lots;
        if (lots == 0) return Refusal.Missing;
        AccountWord word = s.accounts[d.account].word;
        if (word.has(AccountWordLib.REPLACED)) {
            bool ready;
            (word, ready) = _replaced(s, d, word);
            if (!ready) return Refusal.TooShort;
        }
        uint256 cursor = word.cursor();
        if (cursor >= d.lot) return Refusal.AlreadyCleared;
        uint256 lag = d.lot - cursor;
        if (lots < lag) return Refusal.TooShort;
        d.word = word;
        d.lag = lag;
        d.offset = d.record.energies + 6 * (lots - lag);
        MeterKey key = MeterKey.wrap(d.keys[d.index]);
        if (!key.exists() || key.suspended()) return Refusal.Suspended;
        if (!LotRecord.isSigned(d.record, key, d.domain, d.meterIds[d.index], d.lot, d.lotSeconds)) {
            return Refusal.BadSignature;
        }
        return Refusal.None;
    }

    /// @dev See Replacement; a plant's or distributor's was settled before.
    function _replaced(
        MarketState storage s,
        Delivery memory d,
        AccountWord word
    ) private view returns (AccountWord, bool ready) {
        (word, , ready) = Replacement.takeOver(
            s.accounts[d.account],
            word,
            d.registry,
            d.meterIds[d.index],
            d.lot,
            d.lotSeconds,
            d.charter.terms().abandonSeconds
        );
        return (word, ready);
    }

    /// @dev The register at the cursor must be the one that was cleared; then the cursor moves.
    /// @param energy what the lots since the cursor add up to
    function advance(Delivery memory d, uint256 energy) internal pure returns (Refusal) {
        uint256 forward = d.record.forward;
        if (energy > forward) return Refusal.BadEnergies;
        AccountWord word = d.word;
        if (!word.has(AccountWordLib.FRESH) && forward - energy != word.register()) return Refusal.WrongRegister;
        d.word = word.withReading(d.lot, forward);
        return Refusal.None;
    }

    /// @dev The energy of the `position`-th lot after the cursor, at most what the meter could carry then.
    function capped(Delivery memory d, uint256 position) internal view returns (uint256 energy, uint256 cut) {
        energy = LotLanes.at(d.offset, position);
        MeterKey key = MeterKey.wrap(d.keys[d.index]);
        uint256 capacity = key.capacity();
        uint256 lot = d.lot - d.lag + 1 + position;
        if (lot < key.fromLot()) capacity = d.registry.capacityAt(d.meterIds[d.index], uint64(lot));
        if (energy > capacity) {
            cut = energy - capacity;
            energy = capacity;
        }
    }

    /// @dev Says once when a balance falls below the reserve.
    function watchReserve(uint32 account, AccountWord word, uint256 reserve) internal returns (AccountWord) {
        if (word.balance() >= reserve || word.has(AccountWordLib.LOW)) return word;
        emit IEnergyMarket.ReserveLow(account, word.balance(), reserve);
        return word.set(AccountWordLib.LOW);
    }

    /// @dev The clearing's tokens that are still at the distributor's meter: what is available and not yet used.
    function tokensLeft(ClearingHead head) internal pure returns (uint256) {
        (uint256 available, uint256 used) = head.sums();
        return head.stage() == Progress.CLOSED || used >= available ? 0 : available - used;
    }

    /// @dev What nobody used is burned, and the clearing's tokens are gone.
    /// @param unburnt used tokens that are still to be burned, in the same move
    /// @return closed the head, to be written by the caller
    function close(
        IEnergyToken token,
        bytes32 feeder,
        uint256 lot,
        ClearingHead head,
        bytes32 distributorMeter,
        uint256 unburnt
    ) internal returns (ClearingHead closed) {
        uint256 left = tokensLeft(head) + unburnt;
        (uint256 available, uint256 used) = head.sums();
        closed = head.withStage(Progress.CLOSED);
        if (left != 0) burn(token, distributorMeter, left);
        if (used < available) emit IEnergyMarket.ClearingClosed(feeder, uint64(lot), used, available - used, 0);
        else emit IEnergyMarket.ClearingClosed(feeder, uint64(lot), available, 0, used - available);
    }
}
