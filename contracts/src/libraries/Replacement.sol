// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IMeterRegistry} from "../interfaces/IMeterRegistry.sol";
import {Account} from "../MarketState.sol";
import {AccountWord, AccountWordLib} from "./AccountWord.sol";

/// @title A meter in the place of another
/// @notice The account stays: owner, role, price, balance, arrears, place in its feeder. From a lot not yet begun on the
/// new meter's readings count, and its register there goes on from the opening reading that it signed. The old meter
/// still reads the lots before, in their order. What it never reads, a broken one, is given up with the new meter's
/// first reading: a consumer's, when `abandonSeconds` after those lots' end are over; a plant's or distributor's at once,
/// for their clearings are past: the estimate for them stands, and nothing of it is carried on.
/// @dev The account's word has a flag until the new meter's first reading is taken, so that all others pay nothing.
library Replacement {
    /// @notice The lot after which a clearing at `lot` goes on reading.
    function readFrom(Account storage a, uint256 lot) internal view returns (uint256 cursor) {
        AccountWord word = a.word;
        cursor = word.cursor();
        if (!word.has(AccountWordLib.REPLACED)) return cursor;
        uint256 from = a.replacedFrom;
        if (lot >= from && cursor + 1 < from) cursor = from - 1;
    }

    /// @notice The account's word as a reading for a clearing that ends with `lot` finds it.
    /// @param patience seconds from the old meter's last lot's end until lots that it did not read are given up
    /// @return word as it was while the old meter still reads
    /// @return lost lots that are given up
    /// @return ready false: lots of the old meter are outstanding
    function takeOver(
        Account storage a,
        AccountWord word,
        IMeterRegistry registry,
        bytes32 meterId,
        uint256 lot,
        uint256 lotSeconds,
        uint256 patience
    ) internal view returns (AccountWord, uint256 lost, bool ready) {
        uint256 from = a.replacedFrom;
        if (lot < from) return (word, 0, true);
        lost = from - 1 - word.cursor();
        if (lost != 0 && block.timestamp < from * lotSeconds + patience) return (word, 0, false);
        return (seated(word.unset(AccountWordLib.REPLACED), registry, meterId, from), lost, true);
    }

    /// @notice A meter's first lot is `fromLot`: its register there is its opening's, where that is the lot before;
    /// otherwise its first reading says it.
    function seated(
        AccountWord word,
        IMeterRegistry registry,
        bytes32 meterId,
        uint256 fromLot
    ) internal view returns (AccountWord) {
        (uint64 lot, uint64 forward, ) = registry.openingOf(meterId);
        if (lot == fromLot - 1) return word.withReading(lot, forward);
        return word.withReading(fromLot - 1, 0).set(AccountWordLib.FRESH);
    }
}
