// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Clearing} from "../MarketState.sol";
import {CodeStore} from "./CodeStore.sol";
import {LotLanes} from "./LotLanes.sol";

/// @title A clearing's prices, one a lot
/// @notice One stands with the clearing's sums, up to four in a slot of their own; more become code, each with as many bytes as the highest needs, so that
/// consumers' pages read them at 3 gas a word and a day of household prices takes 1,728 bytes.
library PriceList {
    uint256 internal constant INLINE = 4;

    /// @param prices wei per kWh, below 2^64, oldest first
    function write(uint256[] memory prices) internal returns (uint256 packed) {
        uint256 lots = prices.length;
        if (lots <= INLINE) {
            for (uint256 i = 0; i < lots; ++i) packed |= prices[i] << (64 * i);
            return packed;
        }
        uint256 all = 0; // no price is longer than all of them or-ed
        assembly ("memory-safe") {
            let from := add(prices, 32)
            for {
                let end := add(from, shl(5, lots))
            } lt(from, end) {
                from := add(from, 32)
            } {
                all := or(all, mload(from))
            }
        }
        uint256 width = 1;
        while (all >> (8 * width) != 0) ++width;
        bytes memory code = new bytes(lots * width);
        assembly ("memory-safe") {
            let from := add(prices, 32)
            let to := add(code, 32)
            let shift := sub(256, shl(3, width))
            // each write is a whole word, so the last ones run past the end: into memory that is not yet claimed
            for {
                let i := 0
            } lt(i, lots) {
                i := add(i, 1)
            } {
                mstore(to, shl(shift, mload(from)))
                from := add(from, 32)
                to := add(to, width)
            }
        }
        return uint256(uint160(CodeStore.write(code))) | (width << 160);
    }

    /// @notice All prices, oldest first.
    function read(Clearing storage c) internal view returns (uint256[] memory prices) {
        uint256 lots = c.head.lots();
        prices = new uint256[](lots);
        if (lots == 1) {
            prices[0] = c.head.price();
            return prices;
        }
        uint256 packed = c.prices;
        if (lots <= INLINE) {
            for (uint256 i = 0; i < lots; ++i) prices[i] = uint64(packed >> (64 * i));
            return prices;
        }
        bytes memory code = CodeStore.read(address(uint160(packed)));
        assembly ("memory-safe") {
            let width := shr(160, packed)
            let shift := sub(256, shl(3, width))
            let from := add(code, 32)
            let to := add(prices, 32)
            for {
                let i := 0
            } lt(i, lots) {
                i := add(i, 1)
            } {
                mstore(to, shr(shift, mload(from)))
                from := add(from, width)
                to := add(to, 32)
            }
        }
    }

    /// @notice The prices as LotLanes.bill takes them: differences, in groups of five. Twin of LotLanes.table(read(c)).
    function table(Clearing storage c) internal view returns (uint256[] memory q) {
        uint256 lots = c.head.lots();
        if (lots <= INLINE) return LotLanes.table(read(c));
        uint256 packed = c.prices;
        q = new uint256[](((lots + 4) / 5) * 5);
        bytes memory code = CodeStore.read(address(uint160(packed)));
        assembly ("memory-safe") {
            let width := shr(160, packed)
            let shift := sub(256, shl(3, width))
            let from := add(code, 32)
            let to := add(q, 32)
            // the last group may be short: zeros follow the code
            for {
                let end := add(from, mul(width, lots))
            } lt(from, end) {
                to := add(to, 160)
            } {
                let a := shr(shift, mload(from))
                from := add(from, width)
                let b := shr(shift, mload(from))
                mstore(to, sub(a, shl(48, b)))
                from := add(from, width)
                a := shr(shift, mload(from))
                mstore(add(to, 32), sub(b, shl(48, a)))
                from := add(from, width)
                b := shr(shift, mload(from))
                mstore(add(to, 64), sub(a, shl(48, b)))
                from := add(from, width)
                a := shr(shift, mload(from))
                mstore(add(to, 96), sub(b, shl(48, a)))
                mstore(add(to, 128), a)
                from := add(from, width)
            }
        }
    }
}
