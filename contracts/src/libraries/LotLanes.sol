// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Five lots a word: a record's energies, summed, compared and priced
/// @notice Energies stand in calldata as 6-byte big-endian numbers, oldest first; a 32-byte word holds five of them.
/// @dev The price table makes the price of each lot a difference, so that no lane has to be cut out: with the word
/// W = Σ e_i · 2^(48·(4−i)) and q_j = p_j − 2^48 · p_(j+1), the sum Σ_j (W >> 48·(4−j)) · q_j telescopes to Σ e_i · p_i,
/// exactly, modulo 2^256, and the true sum is far below that. `plain` is the twin that the tests hold this against.
library LotLanes {
    uint256 private constant _LANES_96 = 0xffffffffffff000000000000ffffffffffff000000000000ffffffffffff;
    uint256 private constant _ONES = 0x1000000000001000000000001000000000001000000000001;
    uint256 private constant _TOP_BITS = _ONES << 47;
    uint256 private constant _LANE = 2 ** 48 - 1;

    /// @notice The table that `bill` takes: a word a lot, zero for the lanes after the last one.
    /// @param prices one a lot, oldest first
    function table(uint256[] memory prices) internal pure returns (uint256[] memory q) {
        uint256 lots = prices.length;
        q = new uint256[](((lots + 4) / 5) * 5);
        unchecked {
            for (uint256 i = 0; i < lots; ++i) {
                uint256 next = (i + 1) % 5 == 0 || i + 1 == lots ? 0 : prices[i + 1];
                q[i] = prices[i] - (next << 48);
            }
        }
    }

    /// @param offset where the first of the lots' energies is in calldata
    /// @param lots how many there are, at least 1
    /// @param q the price table of exactly these lots
    /// @param capacity Units per lot, below 2^47
    /// @return energy Σ e
    /// @return product Σ e · p
    /// @return over whether any lot exceeds the capacity; then the caller cuts lot by lot
    function bill(
        uint256 offset,
        uint256 lots,
        uint256[] memory q,
        uint256 capacity
    ) internal pure returns (uint256 energy, uint256 product, bool over) {
        uint256 all;
        assembly ("memory-safe") {
            let entry := add(q, 32)
            let end := add(offset, mul(30, div(lots, 5)))
            for {} lt(offset, end) {
                offset := add(offset, 30)
            } {
                let w := shr(16, calldataload(offset))
                energy := add(energy, w)
                all := or(all, w)
                product := add(
                    add(
                        add(mul(shr(192, w), mload(entry)), mul(shr(144, w), mload(add(entry, 32)))),
                        add(mul(shr(96, w), mload(add(entry, 64))), mul(shr(48, w), mload(add(entry, 96))))
                    ),
                    add(mul(w, mload(add(entry, 128))), product)
                )
                entry := add(entry, 160)
            }
            let rest := mod(lots, 5)
            if rest {
                // behind the last lot the word holds what comes next: blank it
                let blank := mul(48, sub(5, rest))
                let w := shl(blank, shr(add(16, blank), calldataload(offset)))
                energy := add(energy, w)
                all := or(all, w)
                for {
                    let shift := 192
                } rest {
                    rest := sub(rest, 1)
                } {
                    product := add(product, mul(shr(shift, w), mload(entry)))
                    shift := sub(shift, 48)
                    entry := add(entry, 32)
                }
            }
        }
        // No lane exceeds the lanes' or, so mostly it tells that none exceeds the capacity. The words were added as they
        // are, and 2^48 ≡ 1 modulo 2^48 − 1: while no sum can reach that, the remainder is the lanes' sum.
        uint256 highest = _highest(all);
        if (highest <= capacity && highest * lots < _LANE) return (energy % _LANE, product, false);
        offset -= 30 * (lots / 5);
        (energy, over) = sum(offset, lots, capacity);
    }

    /// @notice The same without prices: the energy of some lots, and whether one exceeds the capacity.
    function sum(uint256 offset, uint256 lots, uint256 capacity) internal pure returns (uint256 energy, bool over) {
        uint256 lanes96 = _LANES_96;
        uint256 tops = _TOP_BITS;
        uint256 limit = (capacity * _ONES) | tops;
        assembly ("memory-safe") {
            let flags := 0
            let sums := 0
            for {} lots {} {
                let w := shr(16, calldataload(offset))
                switch lt(lots, 5)
                case 0 {
                    lots := sub(lots, 5)
                }
                default {
                    let blank := mul(48, sub(5, lots))
                    w := shl(blank, shr(blank, w))
                    lots := 0
                }
                offset := add(offset, 30)
                sums := add(sums, add(and(w, lanes96), and(shr(48, w), lanes96)))
                flags := or(flags, or(and(w, tops), and(not(sub(limit, w)), tops)))
            }
            over := iszero(iszero(flags))
            let lane := 0xffffffffffffffffffffffff
            energy := add(and(sums, lane), add(and(shr(96, sums), lane), shr(192, sums)))
        }
    }

    /// @dev The or of five lanes, which none of them exceeds.
    function _highest(uint256 all) private pure returns (uint256) {
        unchecked {
            return (all | (all >> 48) | (all >> 96) | (all >> 144) | (all >> 192)) & _LANE;
        }
    }

    /// @notice The energy of the lot `index` of a run that starts at `offset` in calldata.
    function at(uint256 offset, uint256 index) internal pure returns (uint256 energy) {
        assembly ("memory-safe") {
            energy := shr(208, calldataload(add(offset, mul(6, index))))
        }
    }

    /// @notice The twin of `bill` as one would write it down.
    function plain(
        uint256 offset,
        uint256 lots,
        uint256[] memory prices,
        uint256 capacity
    ) internal pure returns (uint256 energy, uint256 product, bool over) {
        for (uint256 i = 0; i < lots; ++i) {
            uint256 e = at(offset, i);
            energy += e;
            product += e * prices[i];
            if (e > capacity) over = true;
        }
    }
}
