// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ClearingMath} from "../../src/libraries/ClearingMath.sol";
import {LotPrices} from "../../src/libraries/LotPrices.sol";

/// @title Prices a run of lots at once, and lot by lot
contract LotPricesHarness {
    struct Run {
        uint256[] prices;
        uint256 sent;
        uint256 taken;
        uint256 available;
    }

    /// @param flows value << 64 | sent, a lot each
    /// @param received 6 bytes a lot
    function price(
        uint256[] calldata flows,
        bytes calldata received,
        ClearingMath.Tariff calldata tariff,
        uint256 waived
    ) external pure returns (Run memory clever, Run memory plain) {
        clever.prices = flows;
        (clever.sent, clever.taken, clever.available) = LotPrices.pricesDown(clever.prices, received, tariff, waived);
        plain.prices = flows;
        for (uint256 i = 0; i < flows.length; ++i) {
            uint256 sent = uint64(flows[i]);
            uint256 arrived = uint48(bytes6(received[6 * i:6 * i + 6]));
            plain.prices[i] = ClearingMath.pricePerKWhDown(sent, flows[i] >> 64, arrived, tariff, i < waived);
            plain.sent += sent;
            plain.taken += arrived;
            plain.available += sent < arrived ? sent : arrived;
        }
    }

    /// @param energies a plant each: `width` bytes a lot, with anything behind them
    function flow(
        uint256 lots,
        bytes[] calldata energies,
        uint256[] calldata widths,
        uint256[] calldata prices
    )
        external
        pure
        returns (
            uint256[] memory clever,
            uint256[] memory cleverTotals,
            uint256[] memory plain,
            uint256[] memory totals
        )
    {
        clever = LotPrices.empty(lots);
        (cleverTotals, plain, totals) = (
            new uint256[](prices.length),
            new uint256[](lots),
            new uint256[](prices.length)
        );
        for (uint256 p = 0; p < prices.length; ++p) {
            bytes memory shelf = energies[p];
            uint256 from;
            assembly ("memory-safe") {
                from := add(shelf, 32)
            }
            cleverTotals[p] = LotPrices.addPlant(clever, from, widths[p], prices[p]);
            for (uint256 i = 0; i < lots; ++i) {
                uint256 energy = 0;
                for (uint256 j = 0; j < widths[p]; ++j) energy = (energy << 8) | uint8(shelf[widths[p] * i + j]);
                plain[i] += energy + ((energy * prices[p]) << 64);
                totals[p] += energy;
            }
        }
        LotPrices.join(clever);
    }
}
