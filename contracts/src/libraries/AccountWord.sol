// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What a clearing needs of an account, in one word, so that it costs one cold slot.
/// @dev bits 0–95 balance (wei) | 96–159 register at the cursor (Units) | 160–199 cursor, the last lot cleared |
/// 200–223 money below one wei (10^-7 wei) | 224–255 flags
type AccountWord is uint256;

using AccountWordLib for AccountWord global;

library AccountWordLib {
    /// @notice Nothing was cleared yet and no opening fixes the register: the first record does.
    uint256 internal constant FRESH = 1 << 224;
    /// @notice The account owes; its balance is zero.
    uint256 internal constant ARREARS = 1 << 225;
    /// @notice ReserveLow was said and the balance has not recovered since.
    uint256 internal constant LOW = 1 << 226;
    /// @notice The meter's cursor is behind its feeder's, or energy is carried to its next lots.
    uint256 internal constant BEHIND = 1 << 227;

    /// @notice Another meter takes this one's place from a lot on, and has not been read yet.
    uint256 internal constant REPLACED = 1 << 228;

    uint256 private constant _BALANCE = (1 << 96) - 1;
    uint256 private constant _READING = ((1 << 104) - 1) << 96;
    uint256 private constant _REMAINDER = ((1 << 24) - 1) << 200;

    function balance(AccountWord word) internal pure returns (uint256) {
        return AccountWord.unwrap(word) & _BALANCE;
    }

    function register(AccountWord word) internal pure returns (uint256) {
        return uint64(AccountWord.unwrap(word) >> 96);
    }

    function cursor(AccountWord word) internal pure returns (uint256) {
        return uint40(AccountWord.unwrap(word) >> 160);
    }

    function remainder(AccountWord word) internal pure returns (uint256) {
        return uint24(AccountWord.unwrap(word) >> 200);
    }

    function has(AccountWord word, uint256 flag) internal pure returns (bool) {
        return AccountWord.unwrap(word) & flag != 0;
    }

    function set(AccountWord word, uint256 flag) internal pure returns (AccountWord) {
        return AccountWord.wrap(AccountWord.unwrap(word) | flag);
    }

    function unset(AccountWord word, uint256 flag) internal pure returns (AccountWord) {
        return AccountWord.wrap(AccountWord.unwrap(word) & ~flag);
    }

    /// @param balance_ below 2^96, which the caller has made sure of
    function withBalance(AccountWord word, uint256 balance_) internal pure returns (AccountWord) {
        return AccountWord.wrap((AccountWord.unwrap(word) & ~_BALANCE) | balance_);
    }

    /// @notice The cursor moves to `lot`, where the register is `register_`; the account is no longer fresh.
    function withReading(AccountWord word, uint256 lot, uint256 register_) internal pure returns (AccountWord) {
        return AccountWord.wrap((AccountWord.unwrap(word) & ~(_READING | FRESH)) | (lot << 160) | (register_ << 96));
    }

    /// @param remainder_ below 10^7
    function withRemainder(AccountWord word, uint256 remainder_) internal pure returns (AccountWord) {
        return AccountWord.wrap((AccountWord.unwrap(word) & ~_REMAINDER) | (remainder_ << 200));
    }
}
