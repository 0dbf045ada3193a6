// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Who signs for a meter from one lot on, and what the meter can carry, in one word.
/// @dev bits 0–159 signer | 160–207 capacity, Units per lot | 208–247 first lot it holds for | 248 suspended.
/// The zero word is no key.
type MeterKey is uint256;

using MeterKeyLib for MeterKey global;

library MeterKeyLib {
    uint256 private constant _SUSPENDED = 1 << 248;
    uint256 private constant _LOT_MASK = (1 << 40) - 1;

    function pack(
        address signer_,
        uint64 capacity_,
        uint64 fromLot_,
        bool suspended_
    ) internal pure returns (MeterKey) {
        return
            MeterKey.wrap(
                uint256(uint160(signer_)) |
                    (uint256(capacity_) << 160) |
                    (uint256(fromLot_) << 208) |
                    (suspended_ ? _SUSPENDED : 0)
            );
    }

    function exists(MeterKey key) internal pure returns (bool) {
        return MeterKey.unwrap(key) != 0;
    }

    function signer(MeterKey key) internal pure returns (address) {
        return address(uint160(MeterKey.unwrap(key)));
    }

    /// @return Units per lot, below 2^47
    function capacity(MeterKey key) internal pure returns (uint64) {
        return uint48(MeterKey.unwrap(key) >> 160);
    }

    function fromLot(MeterKey key) internal pure returns (uint64) {
        return uint64((MeterKey.unwrap(key) >> 208) & _LOT_MASK);
    }

    function suspended(MeterKey key) internal pure returns (bool) {
        return MeterKey.unwrap(key) & _SUSPENDED != 0;
    }
}
