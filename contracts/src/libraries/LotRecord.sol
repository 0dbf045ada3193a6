// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {MeterKey} from "./MeterKey.sol";
import {MeterSignature} from "./MeterSignature.sol";
import {ReadingHash} from "./ReadingHash.sol";

/// @title A reading's record, as it is delivered
/// @notice n 2 | quality 2 | forward 8 | reverse 8 | r 32 | vs 32 (EIP-2098) | energies 6·n. A missing meter's record is
/// two zero bytes.
library LotRecord {
    uint256 internal constant HEADER_BYTES = 84;

    /// @notice A record's fields; `energies` and `next` are positions in calldata.
    struct Record {
        uint256 lots; // 0: missing
        uint256 quality;
        uint256 forward;
        uint256 reverse;
        bytes32 r;
        bytes32 vs;
        uint256 energies;
    }

    /// @notice Reads the record at `offset`.
    /// @param record filled in place, so that a page needs only one
    /// @param offset position in calldata
    /// @param end position in calldata behind the last byte delivered
    /// @return next behind the record; 0 when the record does not fit
    function read(Record memory record, uint256 offset, uint256 end) internal pure returns (uint256 next) {
        assembly ("memory-safe") {
            let room := sub(end, offset)
            if gt(room, 1) {
                let word := calldataload(offset)
                let lots := shr(240, word)
                mstore(record, lots)
                switch lots
                case 0 {
                    next := add(offset, 2)
                }
                default {
                    let size := add(84, mul(6, lots))
                    if iszero(gt(size, room)) {
                        next := add(offset, size)
                        mstore(add(record, 32), and(shr(224, word), 0xffff))
                        mstore(add(record, 64), and(shr(160, word), 0xffffffffffffffff))
                        mstore(add(record, 96), and(shr(96, word), 0xffffffffffffffff))
                        mstore(add(record, 128), calldataload(add(offset, 20)))
                        mstore(add(record, 160), calldataload(add(offset, 52)))
                        mstore(add(record, 192), add(offset, 84))
                    }
                }
            }
        }
    }

    /// @notice How many records there are, at most `most`; one that does not fit counts too.
    function count(uint256 offset, uint256 end, uint256 most) internal pure returns (uint256 records) {
        assembly ("memory-safe") {
            for {} and(lt(records, most), lt(offset, end)) {} {
                let lots := shr(240, calldataload(offset))
                switch lots
                case 0 {
                    offset := add(offset, 2)
                }
                default {
                    offset := add(offset, add(84, mul(6, lots)))
                }
                records := add(records, 1)
            }
        }
    }

    /// @notice The digest that the meter signed for this record.
    function digest(
        Record memory record,
        bytes32 domain,
        bytes32 meterId,
        uint256 lot,
        uint256 lotSeconds
    ) internal pure returns (bytes32 value) {
        bytes32 typeHash = ReadingHash.TYPE_HASH;
        assembly ("memory-safe") {
            // works in free memory without claiming it: a page hashes hundreds of records
            let ptr := mload(0x40)
            let size := mul(6, mload(record))
            calldatacopy(ptr, mload(add(record, 192)), size)
            let energies := keccak256(ptr, size)
            mstore(ptr, typeHash)
            mstore(add(ptr, 32), meterId)
            mstore(add(ptr, 64), lot)
            mstore(add(ptr, 96), lotSeconds)
            mstore(add(ptr, 128), mload(add(record, 64)))
            mstore(add(ptr, 160), mload(add(record, 96)))
            mstore(add(ptr, 192), mload(add(record, 32)))
            mstore(add(ptr, 224), energies)
            let hash := keccak256(ptr, 256)
            mstore(ptr, hex"1901")
            mstore(add(ptr, 2), domain)
            mstore(add(ptr, 34), hash)
            value := keccak256(ptr, 66)
        }
    }

    /// @notice Whether the meter's signer of that lot signed the record.
    function isSigned(
        Record memory record,
        MeterKey key,
        bytes32 domain,
        bytes32 meterId,
        uint256 lot,
        uint256 lotSeconds
    ) internal view returns (bool) {
        bytes32 hash = digest(record, domain, meterId, lot, lotSeconds);
        return MeterSignature.isValid(key.signer(), hash, record.r, record.vs);
    }
}
