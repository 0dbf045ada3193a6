// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Bytes kept as a contract's code
/// @notice For what is written once and read whole: 200 gas a byte to write and 3 gas a word to read, where a storage
/// slot costs 22,100 and 2,100.
/// @dev The code starts with STOP, so calling it does nothing, and nothing can destroy it.
library CodeStore {
    /// @notice EIP-170's limit less the STOP byte.
    uint256 internal constant MAX_BYTES = 24_575;

    error CodeStoreFailed(uint256 length);

    function write(bytes memory data) internal returns (address store) {
        uint256 length = data.length;
        if (length > MAX_BYTES) revert CodeStoreFailed(length);
        assembly ("memory-safe") {
            // In front of the data, over its length word, which is put back: PUSH2 size DUP1 PUSH1 10 RETURNDATASIZE
            // CODECOPY RETURNDATASIZE RETURN, then STOP.
            mstore(data, or(0x61000080600a3d393df300, shl(64, add(length, 1))))
            store := create(0, add(data, 21), add(length, 11))
            mstore(data, length)
        }
        if (store == address(0)) revert CodeStoreFailed(length);
    }

    function read(address store) internal view returns (bytes memory data) {
        assembly ("memory-safe") {
            let size := extcodesize(store)
            let length := sub(size, gt(size, 0))
            data := mload(0x40)
            mstore(data, length)
            extcodecopy(store, add(data, 32), 1, length)
            mstore(add(add(data, 32), length), 0)
            mstore(0x40, and(add(add(data, 95), length), not(31)))
        }
    }
}
