// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title The EIP-712 struct hash of a reading
library ReadingHash {
    bytes32 internal constant TYPE_HASH = keccak256(
        "LotReading(bytes32 meterId,uint64 lot,uint32 lotSeconds,uint64 forward,uint64 reverse,uint16 quality,bytes energies)"
    );

    function structHash(
        bytes32 meterId,
        uint64 lot,
        uint32 lotSeconds,
        uint64 forward,
        uint64 reverse,
        uint16 quality,
        bytes memory energies
    ) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(TYPE_HASH, meterId, lot, lotSeconds, forward, reverse, quality, keccak256(energies)));
    }

    function digest(bytes32 domain, bytes32 hash) internal pure returns (bytes32 value) {
        assembly ("memory-safe") {
            let ptr := mload(0x40)
            mstore(ptr, hex"1901")
            mstore(add(ptr, 2), domain)
            mstore(add(ptr, 34), hash)
            value := keccak256(ptr, 66)
        }
    }
}
