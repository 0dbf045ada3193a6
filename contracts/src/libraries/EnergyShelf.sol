// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {CodeStore} from "./CodeStore.sol";

/// @title A plant's energies between its stage and the distributor's
/// @notice Clearings of a feeder pass these stages one after another, so each plant has one shelf that is written over
/// every time: 5,000 gas for five lots and a third, where fresh slots cost 22,100. Long runs become code, which is
/// cheaper to read back: 64 plants with 2,016 lots would not fit a transaction otherwise.
library EnergyShelf {
    uint256 private constant _MAX_SLOT_LOTS = 576;

    function put(uint256[] storage shelf, bytes memory energies) internal {
        if (energies.length > 6 * _MAX_SLOT_LOTS) {
            address store = CodeStore.write(energies);
            assembly ("memory-safe") {
                mstore(0, shelf.slot)
                sstore(keccak256(0, 32), store)
            }
            return;
        }
        assembly ("memory-safe") {
            mstore(0, shelf.slot)
            let slot := keccak256(0, 32)
            let at := add(energies, 32)
            let end := add(at, mload(energies))
            for {} lt(at, end) { at := add(at, 32) } {
                let word := mload(at)
                // blank what lies behind the last energy
                let rest := sub(end, at)
                if lt(rest, 32) { word := shl(shl(3, sub(32, rest)), shr(shl(3, sub(32, rest)), word)) }
                sstore(slot, word)
                slot := add(slot, 1)
            }
        }
    }

    /// @param lots how many were put
    function get(uint256[] storage shelf, uint256 lots) internal view returns (bytes memory energies) {
        if (lots > _MAX_SLOT_LOTS) {
            address store;
            assembly ("memory-safe") {
                mstore(0, shelf.slot)
                store := sload(keccak256(0, 32))
            }
            return CodeStore.read(store);
        }
        energies = new bytes(6 * lots);
        assembly ("memory-safe") {
            mstore(0, shelf.slot)
            let slot := keccak256(0, 32)
            let at := add(energies, 32)
            let end := add(at, mload(energies))
            for {} lt(at, end) { at := add(at, 32) } {
                mstore(at, sload(slot))
                slot := add(slot, 1)
            }
        }
    }
}
