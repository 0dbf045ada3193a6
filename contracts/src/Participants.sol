// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEnergyMarket, Role} from "./interfaces/IEnergyMarket.sol";
import {AccountWord, AccountWordLib} from "./libraries/AccountWord.sol";
import {FeederCharters} from "./libraries/FeederCharters.sol";
import {Participation} from "./libraries/Participation.sol";
import {MarketBase} from "./MarketBase.sol";
import {Account} from "./MarketState.sol";

/// @title Accounts: joining a feeder by one's own will, and prepaid ether
/// @notice An account is one owner's place in one feeder, with one meter, in one role, up to one price. Nobody but its
/// owner can make one, by a transaction or a signed consent; the regulator decides whether it is listed.
abstract contract Participants is MarketBase, EIP712 {
    bytes32 private constant _CONSENT_TYPE = keccak256(
        "Consent(address owner,bytes32 feeder,bytes32 meterId,uint8 role,uint64 priceLimit,uint256 nonce,uint256 deadline)"
    );

    constructor() EIP712("Bijuli Market", "1") {}

    /// @inheritdoc IEnergyMarket
    function join(bytes32 feeder, bytes32 meterId, uint8 role, uint64 priceLimit) external returns (uint32 account) {
        return Participation.join(_s, msg.sender, feeder, meterId, _roleOf(role), priceLimit);
    }

    /// @notice Joins for an owner who signed its consent (EIP-712, or ERC-1271 where it is a contract).
    /// @param nonce any number; the same consent is taken once
    /// @param deadline unix second after which the consent is void
    function joinFor(
        address owner,
        bytes32 feeder,
        bytes32 meterId,
        uint8 role,
        uint64 priceLimit,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint32 account) {
        Role kind = _roleOf(role);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(_CONSENT_TYPE, owner, feeder, meterId, role, priceLimit, nonce, deadline))
        );
        Participation.useConsent(_s, owner, digest, deadline, signature);
        return Participation.join(_s, owner, feeder, meterId, kind, priceLimit);
    }

    /// @inheritdoc IEnergyMarket
    function leave(uint32 account) external {
        FeederCharters.leave(_s, registry, account);
    }

    /// @inheritdoc IEnergyMarket
    function deposit(uint32 account) external payable {
        Participation.deposit(_s, account);
    }

    /// @inheritdoc IEnergyMarket
    function withdraw(uint32 account, address payable to, uint256 amount) external {
        Participation.withdraw(_s, _lotSeconds, account, to, amount);
    }

    /// @notice Hands a creditor its part of what a debtor with several creditors has paid; callable by anyone.
    /// @return amount wei
    function collect(uint32 debtor, uint32 creditor) external returns (uint256 amount) {
        return Participation.collect(_s, debtor, creditor);
    }

    /// @notice What the account's owner can withdraw now, in wei.
    function withdrawable(uint32 account) external view returns (uint256) {
        return Participation.withdrawable(_s, _lotSeconds, account);
    }

    /// @notice An account's prepaid balance, in wei.
    function balanceOf(uint32 account) external view returns (uint256) {
        return Participation.known(_s, account).word.balance();
    }

    /// @notice What an account owes, in wei, and what it has paid that its creditors have not collected.
    function arrearsOf(uint32 account) external view returns (uint256 owed, uint256 pot) {
        Account storage a = Participation.known(_s, account);
        return (a.debt.owed, a.debt.pot);
    }

    /// @notice What a creditor can collect from a debtor now, and what it is still owed by it (rounded up), in wei.
    function claimOf(uint32 debtor, uint32 creditor) external view returns (uint256 collectable, uint256 outstanding) {
        return Participation.claimOf(_s, debtor, creditor);
    }

    /// @notice Who an account is. `firstLot` is the first lot it takes part in (0: not listed), `endLot` the first one
    /// it takes no part in any more (0: it is in).
    function accountOf(
        uint32 account
    )
        external
        view
        returns (
            address owner,
            bytes32 feeder,
            bytes32 meterId,
            Role role,
            uint64 priceLimit,
            uint64 firstLot,
            uint64 endLot
        )
    {
        Account storage a = Participation.known(_s, account);
        return (a.owner, _s.feederIds[a.feeder], a.meterId, a.role, a.priceLimit, a.firstLot, a.endLot);
    }

    /// @notice How far an account's meter is cleared: the last lot cleared, the forward register there in Units (0 while
    /// `fresh`: the first reading says it), the money below one wei in 10^-7 wei, and the Units that a late reading left
    /// to be added to the next lots.
    function cursorOf(
        uint32 account
    ) external view returns (uint64 cursor, uint64 register, uint32 remainder, int128 carried, bool fresh) {
        Account storage a = Participation.known(_s, account);
        AccountWord word = a.word;
        return (
            uint64(word.cursor()),
            uint64(word.register()),
            uint32(word.remainder()),
            a.carried,
            word.has(AccountWordLib.FRESH)
        );
    }

    /// @notice The account that was last listed with a meter; 0: none.
    function seatOf(bytes32 meterId) external view returns (uint32) {
        return _s.seats[meterId];
    }
}
