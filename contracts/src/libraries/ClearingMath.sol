// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title The arithmetic of one lot
/// @notice Energies in Units, prices in wei per kWh, fractions with 18 decimals (WAD) or in bps. Every rounding is in a
/// name. Bounds that the callers keep, so that nothing here can overflow: an energy of one meter in one lot is below
/// 2^48, at most 64 plants, a plant's price is below 2^62, ideal and service are at most 10^4 bps, the penalty at most
/// 10^6 bps.
library ClearingMath {
    uint256 internal constant WAD = 10 ** 18;
    uint256 internal constant BPS = 10 ** 4;
    uint256 internal constant WAD_PER_BPS = WAD / BPS;
    /// @notice Units in a kWh: prices are per kWh, energies in Units.
    uint256 internal constant UNITS_PER_KWH = 10 ** 7;

    /// @notice The terms as the arithmetic takes them.
    struct Tariff {
        uint256 idealLossBps;
        uint256 serviceBps;
        uint256 penaltyBps;
        uint256 toleranceBps;
        uint256 maxPricePerKWh; // 0: none
    }

    /// @return ceil(lost · WAD / sent), 0 when nothing was sent
    function lossWadUp(uint256 sent, uint256 received) internal pure returns (uint256) {
        unchecked {
            if (received >= sent) return 0;
            return ((sent - received) * WAD + sent - 1) / sent;
        }
    }

    /// @return the loss beyond ideal and tolerance, in WAD; 0 when the penalty is waived
    function excessWad(uint256 lossWad, Tariff memory tariff, bool waived) internal pure returns (uint256) {
        unchecked {
            uint256 allowed = (tariff.idealLossBps + tariff.toleranceBps) * WAD_PER_BPS;
            return waived || lossWad <= allowed ? 0 : lossWad - allowed;
        }
    }

    /// @return max(WAD + ideal + service − floor(excess · penaltyBps / 10^4), 0)
    function factorWad(uint256 excess, Tariff memory tariff) internal pure returns (uint256) {
        unchecked {
            uint256 full = WAD + (tariff.idealLossBps + tariff.serviceBps) * WAD_PER_BPS;
            uint256 penalty = (excess * tariff.penaltyBps) / BPS;
            return penalty >= full ? 0 : full - penalty;
        }
    }

    /// @param sent Σ energy of the plants
    /// @param value Σ energy · pricePerKWh of the plants
    /// @param received the distributor's energy
    /// @param waived true where an estimate took part
    /// @return price what the consumers pay, wei per kWh, rounded down
    function pricePerKWhDown(
        uint256 sent,
        uint256 value,
        uint256 received,
        Tariff memory tariff,
        bool waived
    ) internal pure returns (uint256 price) {
        if (sent == 0) return 0;
        uint256 factor = factorWad(excessWad(lossWadUp(sent, received), tariff, waived), tariff);
        unchecked {
            price = (value * factor) / (sent * WAD);
        }
        if (tariff.maxPricePerKWh != 0 && price > tariff.maxPricePerKWh) price = tariff.maxPricePerKWh;
    }

    /// @notice What a sum of energy · price adds to an account's money, the part below one wei carried.
    /// @param product Σ energy · pricePerKWh, in 10^-7 wei
    /// @param remainder what is left of earlier sums, below 10^7
    function moneyDown(uint256 product, uint256 remainder) internal pure returns (uint256 money, uint256 rest) {
        unchecked {
            uint256 sum = product + remainder;
            money = sum / UNITS_PER_KWH;
            rest = sum % UNITS_PER_KWH;
        }
    }
}
