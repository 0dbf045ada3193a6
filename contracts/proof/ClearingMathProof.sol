// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ClearingMath} from "../src/libraries/ClearingMath.sol";

// What solc's SMTChecker proves of ClearingMath: each function below is a theorem, its parameters are arbitrary, `require`
// is what the callers keep, `assert` is what follows. Nothing here is ever deployed. README.md says how it hangs together.

/// @dev The bounds that the market keeps: they are all that the proofs assume. That value ≤ sent · MAX_PRICE follows from
/// the bounds of energies and prices: `Sums.onePlantMore`. (No arithmetic in here: the checker of solc 0.8.34 stops at an
/// overflow target inside a contract's own internal function.)
abstract contract Assumptions {
    uint256 internal constant WAD = 10 ** 18;
    uint256 internal constant BPS = 10 ** 4;
    uint256 internal constant WAD_PER_BPS = 10 ** 14;
    uint256 internal constant MAX_ENERGY = 2 ** 48 - 1;
    uint256 internal constant MAX_SENT = 64 * (2 ** 48 - 1);
    uint256 internal constant MAX_PRICE = 2 ** 62 - 1;
    uint256 internal constant MAX_PRODUCT = 2016 * (2 ** 48 - 1) * (2 ** 64 - 1);
    uint256 internal constant MAX_FACTOR = 3 * 10 ** 18;

    function _boundTerms(ClearingMath.Tariff memory t) internal pure {
        require(t.idealLossBps <= 10_000);
        require(t.serviceBps <= 10_000);
        require(t.penaltyBps <= 1_000_000);
        require(t.toleranceBps <= 10_000);
        require(t.maxPricePerKWh < 2 ** 64);
    }
}

/// @notice No operation overflows, underflows or divides by zero, and what comes out fits where it is stored. The library
/// is taken with its `unchecked` blocks opened, so that each operation in them is a target of its own.
contract Ranges is Assumptions {
    function price(
        uint256 sent,
        uint256 value,
        uint256 received,
        ClearingMath.Tariff memory t,
        bool waived
    ) external pure {
        _boundTerms(t);
        require(sent <= MAX_SENT);
        require(value <= sent * MAX_PRICE);
        uint256 result = ClearingMath.pricePerKWhDown(sent, value, received, t, waived);
        assert(result < 2 ** 64);
        assert(t.maxPricePerKWh == 0 || result <= t.maxPricePerKWh);
        assert(sent != 0 || result == 0);
    }

    /// @dev 2,016 lots of a plant's or consumer's energies at a price below 2^64.
    function money(uint256 product, uint256 remainder) external pure {
        require(product <= MAX_PRODUCT && remainder < 10 ** 7);
        (uint256 wei_, uint256 rest) = ClearingMath.moneyDown(product, remainder);
        assert(rest < 10 ** 7);
        assert(wei_ < 2 ** 100);
    }
}

/// @notice Σ over the plants, as the market packs it: flow = value · 2^64 + sent, and a plant adds energy · (price · 2^64
/// + 1). One step of the induction over the plants.
contract Sums is Assumptions {
    function onePlantMore(uint256 plants, uint256 sent, uint256 value, uint256 energy, uint256 price) external pure {
        require(plants < 64 && energy <= MAX_ENERGY && price <= MAX_PRICE);
        require(sent <= plants * MAX_ENERGY && value <= sent * MAX_PRICE);
        assert(sent + energy <= (plants + 1) * MAX_ENERGY);
        assert(value + energy * price <= (sent + energy) * MAX_PRICE);
        assert(sent + energy < 2 ** 64);
        uint256 flow = value * 2 ** 64 + sent;
        assert(flow + energy * (price * 2 ** 64 + 1) == (value + energy * price) * 2 ** 64 + (sent + energy));
    }

    function sentIsLostAndAvailable(uint256 sent, uint256 received) external pure {
        require(sent <= MAX_SENT && received <= sent);
        uint256 lost = sent > received ? sent - received : 0;
        uint256 available = sent < received ? sent : received;
        assert(sent == lost + available);
    }
}

/// @notice Every rounding goes where the library says.
contract Rounding is Assumptions {
    /// @dev loss = ceil(lost · WAD / sent), between 0 and WAD, WAD exactly when all was lost
    function lossUp(uint256 sent, uint256 received) external pure {
        require(sent > 0 && sent <= MAX_SENT);
        uint256 loss = ClearingMath.lossWadUp(sent, received);
        uint256 lost = received < sent ? sent - received : 0;
        assert(loss * sent >= lost * WAD);
        assert(loss == 0 || (loss - 1) * sent < lost * WAD);
        assert(loss <= WAD);
        assert(received < sent || loss == 0);
        assert(received != 0 || loss == WAD);
    }

    /// @dev excess = max(loss − ideal − tolerance, 0), 0 when waived
    function excessExact(uint256 loss, ClearingMath.Tariff memory t, bool waived) external pure {
        _boundTerms(t);
        require(loss <= WAD);
        uint256 excess = ClearingMath.excessWad(loss, t, waived);
        uint256 allowed = (t.idealLossBps + t.toleranceBps) * WAD_PER_BPS;
        assert(!waived || excess == 0);
        assert(waived || loss > allowed || excess == 0);
        assert(waived || loss <= allowed || excess + allowed == loss);
    }

    /// @dev factor = max(full − floor(excess · penaltyBps / 10^4), 0)
    function factorUp(uint256 excess, ClearingMath.Tariff memory t) external pure {
        _boundTerms(t);
        require(excess <= WAD);
        uint256 factor = ClearingMath.factorWad(excess, t);
        uint256 full = WAD + (t.idealLossBps + t.serviceBps) * WAD_PER_BPS;
        assert(factor <= full && full <= MAX_FACTOR);
        assert(factor == 0 || (full - factor) * BPS <= excess * t.penaltyBps);
        assert((full - factor + 1) * BPS > excess * t.penaltyBps || factor == 0);
        assert(factor > 0 || excess * t.penaltyBps >= full * BPS);
    }

    /// @dev money · 10^7 + rest is all that came in: nothing is lost, nothing made
    function moneyDown(uint256 product, uint256 remainder) external pure {
        require(product < 2 ** 128 && remainder < 10 ** 7);
        (uint256 wei_, uint256 rest) = ClearingMath.moneyDown(product, remainder);
        assert(wei_ * 10 ** 7 + rest == product + remainder);
    }

    /// @dev Two batches come to the same as one.
    function moneyBatches(uint256 first, uint256 second, uint256 remainder) external pure {
        require(first < 2 ** 128 && second < 2 ** 128 && remainder < 10 ** 7);
        (uint256 money1, uint256 rest1) = ClearingMath.moneyDown(first, remainder);
        (uint256 money2, uint256 rest2) = ClearingMath.moneyDown(second, rest1);
        (uint256 money, uint256 rest) = ClearingMath.moneyDown(first + second, remainder);
        assert(money == money1 + money2);
        assert(rest == rest2);
    }
}

/// @notice The price never rises with more loss, step by step; `Composition` joins the steps.
contract Monotone is Assumptions {
    /// @dev 1. Less received, no smaller a loss.
    function loss(uint256 sent, uint256 less, uint256 more) external pure {
        require(sent <= MAX_SENT && less <= more);
        assert(ClearingMath.lossWadUp(sent, less) >= ClearingMath.lossWadUp(sent, more));
    }

    /// @dev 2. A greater loss, no greater a factor.
    function factor(uint256 smaller, uint256 greater, ClearingMath.Tariff memory t, bool waived) external pure {
        _boundTerms(t);
        require(smaller <= greater && greater <= WAD);
        uint256 high = ClearingMath.factorWad(ClearingMath.excessWad(smaller, t, waived), t);
        uint256 low = ClearingMath.factorWad(ClearingMath.excessWad(greater, t, waived), t);
        assert(low <= high);
        assert(high <= MAX_FACTOR);
    }

    /// @dev 3. A smaller factor, no greater a quotient; and the quotient is rounded down.
    function quotient(uint256 sent, uint256 value, uint256 low, uint256 high) external pure {
        require(sent <= MAX_SENT);
        require(value <= sent * MAX_PRICE);
        require(sent > 0 && low <= high && high <= MAX_FACTOR);
        uint256 p = (value * low) / (sent * WAD);
        uint256 q = (value * high) / (sent * WAD);
        assert(value * low <= value * high);
        assert(p <= q);
        assert(p * (sent * WAD) <= value * low);
        assert((p + 1) * (sent * WAD) > value * low);
    }

    /// @dev 4. A cap keeps the order.
    function cap(uint256 p, uint256 q, uint256 most) external pure {
        require(p <= q);
        assert((most != 0 && p > most ? most : p) <= (most != 0 && q > most ? most : q));
    }
}

/// @notice `pricePerKWhDown` is the quotient of exactly these steps, then the cap. Run with divisions as a function (equal
/// operands, equal quotients) instead of by their defining inequalities.
contract Composition is Assumptions {
    function uncapped(
        uint256 sent,
        uint256 value,
        uint256 received,
        ClearingMath.Tariff memory t,
        bool waived
    ) external pure {
        _boundTerms(t);
        require(sent <= MAX_SENT);
        require(value <= sent * MAX_PRICE);
        require(sent > 0 && t.maxPricePerKWh == 0);
        uint256 loss = ClearingMath.lossWadUp(sent, received);
        uint256 factor = ClearingMath.factorWad(ClearingMath.excessWad(loss, t, waived), t);
        uint256 price = ClearingMath.pricePerKWhDown(sent, value, received, t, waived);
        assert(price == (value * factor) / (sent * WAD));
    }

    function capped(
        uint256 sent,
        uint256 value,
        uint256 received,
        ClearingMath.Tariff memory t,
        bool waived
    ) external pure {
        _boundTerms(t);
        require(sent <= MAX_SENT);
        require(value <= sent * MAX_PRICE);
        uint256 most = t.maxPricePerKWh;
        t.maxPricePerKWh = 0;
        uint256 free = ClearingMath.pricePerKWhDown(sent, value, received, t, waived);
        t.maxPricePerKWh = most;
        uint256 price = ClearingMath.pricePerKWhDown(sent, value, received, t, waived);
        assert(price == (most != 0 && free > most ? most : free));
    }
}
