// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice How far a clearing is, what it added up to, and the price of a single lot, in one word: a clearing of one lot
/// takes one slot, for ever.
/// @dev bit 0 one lot | 1–2 stage (Progress) | 3 an estimate took part | 4–25 charter | 26–38 members asked for | 39–51
/// consumers done | 52–77 seconds from the last lot's end to the opening | then the sums, in Units. Of one lot: 78
/// corrected | 79–132 available | 133–191 used | 192–255 price, wei per kWh. Of several: 78–88 corrected | 89–153
/// available | 154–223 used | 224–234 lots; their prices stand beside. Nothing can overflow: 64 plants send less than
/// 2^54 Units a lot and 4,096 consumers use less than 2^59, over at most 2,016 lots.
type ClearingHead is uint256;

using ClearingHeadLib for ClearingHead global;

library ClearingHeadLib {
    /// @notice Charters that a feeder can have: one a lot of five minutes for 39 years.
    uint256 internal constant MAX_CHARTERS = 2 ** 22;

    uint256 private constant _ONE_LOT = 1;
    uint256 private constant _ESTIMATED = 1 << 3;
    uint256 private constant _LONGEST_DELAY = 2 ** 26 - 1; // two years; what is longer counts as that

    /// @param delay seconds from the last lot's end
    function begun(
        uint256 lots_,
        uint256 charter_,
        uint256 stage_,
        uint256 delay
    ) internal pure returns (ClearingHead) {
        if (delay > _LONGEST_DELAY) delay = _LONGEST_DELAY;
        uint256 length = lots_ == 1 ? _ONE_LOT : lots_ << 224;
        return ClearingHead.wrap(length | (stage_ << 1) | (charter_ << 4) | (delay << 52));
    }

    /// @return 0: there is no such clearing
    function lots(ClearingHead head) internal pure returns (uint256) {
        return _isOne(head) ? 1 : _get(head, 224, 11);
    }

    function stage(ClearingHead head) internal pure returns (uint256) {
        return _get(head, 1, 2);
    }

    function withStage(ClearingHead head, uint256 stage_) internal pure returns (ClearingHead) {
        return _put(head, 1, 2, stage_);
    }

    function estimated(ClearingHead head) internal pure returns (bool) {
        return ClearingHead.unwrap(head) & _ESTIMATED != 0;
    }

    function withEstimate(ClearingHead head) internal pure returns (ClearingHead) {
        return ClearingHead.wrap(ClearingHead.unwrap(head) | _ESTIMATED);
    }

    function charter(ClearingHead head) internal pure returns (uint256) {
        return _get(head, 4, 22);
    }

    /// @notice Members asked for so far: plants, distributor, consumers.
    function requested(ClearingHead head) internal pure returns (uint256) {
        return _get(head, 26, 13);
    }

    function withRequested(ClearingHead head, uint256 members) internal pure returns (ClearingHead) {
        return _put(head, 26, 13, members);
    }

    function consumersDone(ClearingHead head) internal pure returns (uint256) {
        return _get(head, 39, 13);
    }

    /// @return seconds from the last lot's end to the opening
    function openedAfter(ClearingHead head) internal pure returns (uint256) {
        return _get(head, 52, 26);
    }

    /// @notice How many of its first lots carry a late reading's correction; no penalty applies there.
    function corrected(ClearingHead head) internal pure returns (uint256) {
        return _get(head, 78, _isOne(head) ? 1 : 11);
    }

    function withCorrected(ClearingHead head, uint256 lots_) internal pure returns (ClearingHead) {
        return _put(head, 78, _isOne(head) ? 1 : 11, lots_);
    }

    /// @return available Units, Σ min(sent, received)
    /// @return used Units, what the consumers that are done used
    function sums(ClearingHead head) internal pure returns (uint256 available, uint256 used) {
        return _isOne(head) ? (_get(head, 79, 54), _get(head, 133, 59)) : (_get(head, 89, 65), _get(head, 154, 70));
    }

    /// @notice The distributor's stage is done: what is there, and the price where there is one lot.
    function withAvailable(ClearingHead head, uint256 available, uint256 price_) internal pure returns (ClearingHead) {
        uint256 word = ClearingHead.unwrap(head);
        return ClearingHead.wrap(word | (_isOne(head) ? (available << 79) | (price_ << 192) : available << 89));
    }

    /// @notice Consumers are done.
    /// @param used Units, together
    function withUsed(ClearingHead head, uint256 used, uint256 consumers) internal pure returns (ClearingHead) {
        return ClearingHead.wrap(ClearingHead.unwrap(head) + (consumers << 39) + (used << (_isOne(head) ? 133 : 154)));
    }

    /// @return wei per kWh, of a clearing of one lot
    function price(ClearingHead head) internal pure returns (uint256) {
        return ClearingHead.unwrap(head) >> 192;
    }

    function _isOne(ClearingHead head) private pure returns (bool) {
        return ClearingHead.unwrap(head) & _ONE_LOT != 0;
    }

    function _get(ClearingHead head, uint256 from, uint256 bits) private pure returns (uint256) {
        return (ClearingHead.unwrap(head) >> from) & ((1 << bits) - 1);
    }

    function _put(ClearingHead head, uint256 from, uint256 bits, uint256 value) private pure returns (ClearingHead) {
        return ClearingHead.wrap((ClearingHead.unwrap(head) & ~(((1 << bits) - 1) << from)) | (value << from));
    }
}
