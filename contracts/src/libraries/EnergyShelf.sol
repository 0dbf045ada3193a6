// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {CodeStore} from "./CodeStore.sol";

/// @title A plant's energies between its stage and the distributor's
/// @notice Clearings of a feeder pass these stages one after another, so each plant has one shelf that is written over
/// every time: 5,000 gas a slot, where fresh slots cost 22,100. An energy takes as many bytes as the run's highest
/// needs, so a slot holds eight lots of a plant below 5 MW. Long runs become code, which is cheaper to read back: 64
/// plants with 2,016 lots would not fit a transaction otherwise.
/// @dev First byte: how many bytes an energy takes. Long runs: the first slot is the code's address.
library EnergyShelf {
    /// @notice Runs up to so many lots stand in slots, longer ones in code.
    uint256 internal constant MAX_SLOT_LOTS = 288;

    /// @param energies 6 bytes big-endian a lot
    function put(uint256[] storage shelf, bytes memory energies) internal {
        uint256 lots = energies.length / 6;
        bytes memory packed = _pack(energies, lots);
        if (lots > MAX_SLOT_LOTS) {
            address store = CodeStore.write(packed);
            assembly ("memory-safe") {
                mstore(0, shelf.slot)
                sstore(keccak256(0, 32), store)
            }
            return;
        }
        assembly ("memory-safe") {
            mstore(0, shelf.slot)
            let slot := keccak256(0, 32)
            let at := add(packed, 32)
            for {
                let end := add(at, mload(packed))
            } lt(at, end) {
                at := add(at, 32)
            } {
                sstore(slot, mload(at))
                slot := add(slot, 1)
            }
        }
    }

    /// @param lots how many were put
    /// @return width how many bytes an energy takes
    /// @return from where the first stands in memory
    function get(uint256[] storage shelf, uint256 lots) internal view returns (uint256 width, uint256 from) {
        if (lots > MAX_SLOT_LOTS) {
            address store;
            assembly ("memory-safe") {
                mstore(0, shelf.slot)
                store := sload(keccak256(0, 32))
            }
            bytes memory code = CodeStore.read(store);
            assembly ("memory-safe") {
                from := add(code, 33)
                width := byte(0, mload(add(code, 32)))
            }
            return (width, from);
        }
        assembly ("memory-safe") {
            mstore(0, shelf.slot)
            let slot := keccak256(0, 32)
            let at := mload(0x40)
            let word := sload(slot)
            width := byte(0, word)
            from := add(at, 1)
            let end := add(from, mul(width, lots))
            mstore(at, word)
            for {
                at := add(at, 32)
            } lt(at, end) {
                at := add(at, 32)
            } {
                slot := add(slot, 1)
                mstore(at, sload(slot))
            }
            // reading the last energy takes a whole word
            mstore(0x40, add(at, 32))
        }
    }

    function _pack(bytes memory energies, uint256 lots) private pure returns (bytes memory packed) {
        uint256 width = 1;
        assembly ("memory-safe") {
            let all := 0
            let from := add(energies, 32)
            for {
                let end := add(from, mul(6, lots))
            } lt(from, end) {
                from := add(from, 6)
            } {
                all := or(all, shr(208, mload(from)))
            }
            for {} shr(shl(3, width), all) {} {
                width := add(width, 1)
            }
        }
        packed = new bytes(1 + width * lots);
        assembly ("memory-safe") {
            let to := add(packed, 32)
            mstore8(to, width)
            to := add(to, 1)
            let shift := sub(256, shl(3, width))
            let from := add(energies, 32)
            // whole words: the last ones run past the end, into memory that is not yet claimed
            for {
                let end := add(from, mul(6, lots))
            } lt(from, end) {
                from := add(from, 6)
            } {
                mstore(to, shl(shift, shr(208, mload(from))))
                to := add(to, width)
            }
        }
    }
}
