// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IEnergyMarket, Role} from "../interfaces/IEnergyMarket.sol";
import {IMarketErrors} from "../interfaces/IMarketErrors.sol";
import {Account, Feeder, MarketState} from "../MarketState.sol";
import {Accounts} from "./Accounts.sol";
import {AccountWordLib} from "./AccountWord.sol";
import {Charter} from "./Charter.sol";
import {CodeStore} from "./CodeStore.sol";
import {MeterSignature} from "./MeterSignature.sol";

/// @title What an account's owner does: joining, depositing, withdrawing
/// @dev External functions, linked into the market: they keep its code below EIP-170's limit.
library Participation {
    using Charter for bytes;

    function join(
        MarketState storage s,
        address owner,
        bytes32 feeder,
        bytes32 meterId,
        Role role,
        uint64 priceLimit
    ) public returns (uint32 account) {
        Feeder storage f = s.feeders[feeder];
        if (f.number == 0) revert IMarketErrors.UnknownFeeder(feeder);
        if (meterId == 0) revert IMarketErrors.UnknownMeter(meterId);
        account = ++s.accountCount;
        Account storage a = s.accounts[account];
        a.owner = owner;
        a.priceLimit = priceLimit;
        a.feeder = f.number;
        a.role = role;
        a.meterId = meterId;
        emit IEnergyMarket.Joined(account, feeder, meterId, role, owner, priceLimit);
    }

    /// @param digest what the owner must have signed
    function useConsent(
        MarketState storage s,
        address owner,
        bytes32 digest,
        uint256 deadline,
        bytes calldata signature
    ) external {
        if (block.timestamp > deadline) revert IMarketErrors.ConsentExpired(deadline);
        if (s.consentsUsed[digest]) revert IMarketErrors.ConsentUsed(digest);
        if (!MeterSignature.isValid(owner, digest, signature)) revert IMarketErrors.BadConsent(owner);
        s.consentsUsed[digest] = true;
    }

    function deposit(MarketState storage s, uint32 account) external {
        Account storage a = known(s, account);
        if (msg.value == 0) revert IMarketErrors.ZeroAmount();
        // an account's balance has 96 bits: more ether than there is, but not than a test chain can make up
        if (address(this).balance > type(uint96).max) revert IMarketErrors.BalanceTooHigh(account);
        emit IEnergyMarket.Deposited(account, msg.sender, msg.value);
        Accounts.credit(s, account, msg.value);
        a.word = a.word.unset(AccountWordLib.LOW);
    }

    function withdraw(
        MarketState storage s,
        uint256 lotSeconds,
        uint32 account,
        address payable to,
        uint256 amount
    ) external {
        Account storage a = known(s, account);
        if (a.owner != msg.sender) revert IMarketErrors.NotOwner(account, msg.sender);
        if (to == address(0)) revert IMarketErrors.ZeroAddress();
        if (amount == 0) revert IMarketErrors.ZeroAmount();
        uint256 balance = a.word.balance();
        if (amount > balance) revert IMarketErrors.BalanceTooLow(account, balance, amount);
        uint256 kept = _reserveOf(s, lotSeconds, a);
        uint256 free = balance > kept ? balance - kept : 0;
        if (amount > free) revert IMarketErrors.ReserveKept(account, free, amount);
        a.word = a.word.withBalance(balance - amount);
        emit IEnergyMarket.Withdrawn(account, to, amount);
        (bool taken, ) = to.call{value: amount}("");
        if (!taken) revert IMarketErrors.EtherNotTaken(to, amount);
    }

    function collect(MarketState storage s, uint32 debtor, uint32 creditor) external returns (uint256) {
        known(s, debtor);
        known(s, creditor);
        return Accounts.collect(s, debtor, creditor);
    }

    function withdrawable(MarketState storage s, uint256 lotSeconds, uint32 account) external view returns (uint256) {
        Account storage a = known(s, account);
        uint256 balance = a.word.balance();
        uint256 kept = _reserveOf(s, lotSeconds, a);
        return balance > kept ? balance - kept : 0;
    }

    function claimOf(MarketState storage s, uint32 debtor, uint32 creditor) external view returns (uint256, uint256) {
        return Accounts.claimOf(s, debtor, creditor);
    }

    function known(MarketState storage s, uint32 account) internal view returns (Account storage a) {
        a = s.accounts[account];
        if (a.owner == address(0)) revert IMarketErrors.UnknownAccount(account);
    }

    /// @dev What a member keeps: the reserve of the terms now in force. After leaving, until it is cleared to its end,
    /// or until its feeder could have closed without it.
    function _reserveOf(MarketState storage s, uint256 lotSeconds, Account storage a) private view returns (uint256) {
        if (a.role == Role.Plant || a.firstLot == 0) return 0;
        uint256 number = a.feeder;
        Feeder storage f = s.feeders[s.feederIds[a.feeder]];
        uint256 now_ = block.timestamp / lotSeconds;
        // by halves: however many changes are announced, a withdrawal costs about the same
        (uint256 index, uint256 high) = (f.charter, f.charters - 1);
        while (index < high) {
            uint256 middle = (index + high + 1) / 2;
            if (s.charters[(number << 24) | middle].fromLot > now_) high = middle - 1;
            else index = middle;
        }
        bytes memory charter = CodeStore.read(s.charters[(number << 24) | index].code);
        if (a.endLot != 0 && a.endLot <= now_) {
            if (a.word.cursor() + 1 >= a.endLot) return 0;
            if (block.timestamp > a.endLot * lotSeconds + charter.terms().abandonSeconds) return 0;
        }
        return charter.reserve();
    }
}
