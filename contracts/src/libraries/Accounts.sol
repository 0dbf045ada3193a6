// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Account, Claim, Debt, MarketState} from "../MarketState.sol";
import {IEnergyMarket} from "../interfaces/IEnergyMarket.sol";
import {AccountWordLib} from "./AccountWord.sol";

/// @title Money between accounts: credits, arrears, and the claims of several creditors
/// @notice All in wei. Ether in the market = Σ balances + Σ pots. An account in arrears has no balance. Every step costs
/// the same however many creditors there are: with several, what the debtor pays gathers in a pot and lowers all claims
/// by one factor; a creditor's part is worked out when somebody collects it.
library Accounts {
    uint256 private constant _INDEX_ONE = 2 ** 128;
    uint256 private constant _INDEX_STEP = 64;

    /// @notice Gives an account money: its arrears first, then its balance.
    /// @dev The sum of all balances is ether that exists, below 2^96 wei, so a balance cannot overflow its field.
    function credit(MarketState storage s, uint256 account, uint256 amount) internal {
        if (amount == 0) return;
        Account storage a = s.accounts[account];
        if (a.word.has(AccountWordLib.ARREARS)) {
            uint256 owed = a.debt.owed;
            uint256 paid = amount < owed ? amount : owed;
            _repay(s, account, a, paid);
            amount -= paid;
        }
        if (amount != 0) a.word = a.word.withBalance(a.word.balance() + amount);
    }

    /// @notice Adds to what `debtor` owes `creditor`. The caller sets the debtor's ARREARS flag and empties its balance.
    function owe(MarketState storage s, uint256 debtor, uint256 creditor, uint256 amount) internal {
        if (amount == 0) return;
        Debt storage debt = s.accounts[debtor].debt;
        emit IEnergyMarket.ArrearsGrown(uint32(debtor), uint32(creditor), amount);
        if (debt.owed == 0) {
            debt.creditor = uint32(creditor);
        } else if (debt.pooled || debt.creditor != creditor) {
            if (!debt.pooled) {
                debt.pooled = true;
                debt.scale = 0;
                debt.index = _INDEX_ONE;
                _addClaim(s, debtor, debt.creditor, debt.owed);
            }
            _addClaim(s, debtor, creditor, amount);
        }
        debt.owed += uint128(amount);
    }

    /// @notice Hands a creditor its part of what the debtor has paid so far.
    /// @return due what was collected
    function collect(MarketState storage s, uint256 debtor, uint256 creditor) internal returns (uint256 due) {
        Debt storage debt = s.accounts[debtor].debt;
        Claim storage claim = s.claims[(debtor << 32) | creditor];
        uint256 amount = claim.amount;
        if (amount == 0) return 0;
        uint256 left = _outstandingUp(debt, claim);
        due = amount - left;
        claim.amount = uint128(left);
        claim.generation = debt.generation;
        claim.scale = debt.scale;
        claim.index = debt.index;
        if (due == 0) return 0;
        debt.pot -= uint128(due);
        emit IEnergyMarket.ClaimCollected(uint32(debtor), uint32(creditor), due);
        credit(s, creditor, due);
    }

    /// @notice What a creditor could collect now, and what it is still owed.
    function claimOf(
        MarketState storage s,
        uint256 debtor,
        uint256 creditor
    ) internal view returns (uint256 collectable, uint256 outstanding) {
        Debt storage debt = s.accounts[debtor].debt;
        Claim storage claim = s.claims[(debtor << 32) | creditor];
        if (claim.amount != 0) {
            outstanding = _outstandingUp(debt, claim);
            collectable = claim.amount - outstanding;
        }
        if (!debt.pooled && debt.creditor == creditor) outstanding += debt.owed;
    }

    /// @param amount at most what is owed
    function _repay(MarketState storage s, uint256 account, Account storage a, uint256 amount) private {
        Debt storage debt = a.debt;
        uint256 owed = debt.owed;
        uint256 left = owed - amount;
        debt.owed = uint128(left);
        if (left == 0) a.word = a.word.unset(AccountWordLib.ARREARS);
        emit IEnergyMarket.ArrearsPaid(uint32(account), amount);
        if (!debt.pooled) {
            credit(s, debt.creditor, amount);
            return;
        }
        debt.pot += uint128(amount);
        if (left == 0) {
            // all claims of this generation are paid in full, to the wei
            debt.pooled = false;
            debt.generation += 1;
            return;
        }
        uint256 index = _divUp(debt.index * left, owed);
        if (index < 2 ** _INDEX_STEP) {
            index <<= _INDEX_STEP;
            debt.scale += 1;
        }
        debt.index = index;
    }

    function _addClaim(MarketState storage s, uint256 debtor, uint256 creditor, uint256 amount) private {
        collect(s, debtor, creditor);
        Debt storage debt = s.accounts[debtor].debt;
        Claim storage claim = s.claims[(debtor << 32) | creditor];
        claim.amount += uint128(amount);
        claim.generation = debt.generation;
        claim.scale = debt.scale;
        claim.index = debt.index;
    }

    /// @dev Rounded up, so that what creditors collect never exceeds what the debtor paid; the wei that this holds back
    /// is paid out when the debt is.
    function _outstandingUp(Debt storage debt, Claim storage claim) private view returns (uint256 left) {
        uint256 amount = claim.amount;
        if (!debt.pooled || claim.generation != debt.generation) return 0;
        left = _divUp(amount * debt.index, claim.index);
        uint256 steps = debt.scale - claim.scale;
        if (steps != 0) {
            uint256 shift = steps > 3 ? 255 : steps * _INDEX_STEP;
            left = (left >> shift) + 1;
        }
        if (left > amount) left = amount;
    }

    function _divUp(uint256 a, uint256 b) private pure returns (uint256) {
        return a == 0 ? 0 : (a - 1) / b + 1;
    }
}
