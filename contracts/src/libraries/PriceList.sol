// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {CodeStore} from "./CodeStore.sol";

/// @title A clearing's prices, one a lot
/// @notice Up to four stand in one slot; more become code, each with as many bytes as the highest needs, so that
/// consumers' pages read them at 3 gas a word and a day of household prices takes 1,728 bytes.
library PriceList {
    uint256 internal constant INLINE = 4;

    /// @param prices wei per kWh, below 2^64, oldest first
    function write(uint256[] memory prices) internal returns (uint256 packed) {
        uint256 lots = prices.length;
        uint256 highest = 0;
        unchecked {
            for (uint256 i = 0; i < lots; ++i) {
                if (lots <= INLINE) packed |= prices[i] << (64 * i);
                if (prices[i] > highest) highest = prices[i];
            }
        }
        if (lots <= INLINE) return packed;
        uint256 width = 1;
        while (highest >> (8 * width) != 0) ++width;
        bytes memory code = new bytes(lots * width);
        assembly ("memory-safe") {
            let from := add(prices, 32)
            let to := add(code, 32)
            let shift := sub(256, shl(3, width))
            // each write is a whole word, so the last ones run past the end: into memory that is not yet claimed
            for { let i := 0 } lt(i, lots) { i := add(i, 1) } {
                mstore(to, shl(shift, mload(from)))
                from := add(from, 32)
                to := add(to, width)
            }
        }
        return uint256(uint160(CodeStore.write(code))) | (width << 160);
    }

    function read(uint256 packed, uint256 lots) internal view returns (uint256[] memory prices) {
        prices = new uint256[](lots);
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
            for { let i := 0 } lt(i, lots) { i := add(i, 1) } {
                mstore(to, shr(shift, mload(from)))
                from := add(from, width)
                to := add(to, 32)
            }
        }
    }
}
