// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AccountWord} from "./libraries/AccountWord.sol";
import {ClearingHead} from "./libraries/ClearingHead.sol";
import {Role} from "./interfaces/IEnergyMarket.sol";

/// @notice One participant's place in one feeder, with one meter: its money and how far it was cleared.
struct Account {
    AccountWord word;
    // ---- one slot
    address owner;
    uint64 priceLimit;
    uint24 feeder;
    Role role;
    // ---- one slot
    bytes32 meterId;
    // ---- one slot
    uint40 firstLot; // the first lot it takes part in; 0: not listed yet
    uint40 endLot; // the first lot it takes no part in any more; 0: it is in
    int128 carried; // Units to be added to the meter's next lots (a late reading less what was estimated)
    uint40 replacedFrom; // the first lot of the meter that took the place of another, see Replacement
    // ---- what it owes
    Debt debt;
}

/// @notice What an account owes. With one creditor, whatever it pays goes straight there. With several, payments
/// gather in `pot` and each creditor's claim falls by the same fraction; `index` is the product of these fractions.
struct Debt {
    uint128 owed;
    uint128 pot; // paid by the debtor, not yet collected by the creditors
    // ----
    uint32 creditor; // while there is only one
    uint32 generation; // grows when a debt with several creditors is paid in full
    uint32 scale; // how often the index was scaled up by 2^64
    bool pooled; // several creditors
    // ----
    uint256 index; // below 2^128, at least 2^64
}

/// @notice One creditor's share of a debt with several: what was outstanding when it was last touched.
struct Claim {
    uint128 amount;
    uint32 generation;
    uint32 scale;
    uint256 index;
}

/// @notice What an opening and a stage's turn need of a feeder, in one slot.
struct Feeder {
    uint40 openedLot; // the last lot opened
    uint40 clearedLot; // the last lot through which plants and distributor are cleared
    uint24 charter; // the charter that holds at openedLot
    uint24 charters; // how many there are
    uint96 link; // LINK for its requests
    bool paused;
    uint8 silent; // how many plants and distributors are behind, so that requests must reach back further
    // ----
    address operators; // CodeStore, see OracleSeats
    uint24 number;
}

struct CharterRef {
    address code;
    uint40 fromLot;
}

/// @notice How far a clearing is. It is named by its last lot.
struct Clearing {
    ClearingHead head;
    // ----
    /// While some plants are missing: a bit for each that is done. Then the prices of a clearing of several lots, see
    /// PriceList.
    uint256 prices;
}

/// @notice A clearing's progress: what comes next.
library Progress {
    uint256 internal constant PLANTS = 0;
    uint256 internal constant DISTRIBUTOR = 1;
    uint256 internal constant CONSUMERS = 2;
    uint256 internal constant CLOSED = 3;
}

struct Repeat {
    uint40 at;
    uint32 times;
}

/// @notice All that the market keeps.
struct MarketState {
    uint24 feederCount;
    uint32 accountCount;
    mapping(bytes32 feeder => Feeder) feeders;
    mapping(uint24 number => bytes32) feederIds;
    mapping(uint256 key => CharterRef) charters; // number << 24 | index
    mapping(uint256 key => Clearing) clearings; // number << 40 | last lot
    mapping(uint256 key => uint256[]) shelves; // number << 8 | plant: its energies between the two first stages
    mapping(uint256 account => Account) accounts;
    mapping(uint256 key => Claim) claims; // debtor << 32 | creditor
    mapping(bytes32 meterId => uint32) seats; // the account that is listed with the meter
    mapping(uint256 key => Repeat) repeats; // number, lot, stage, first
    mapping(bytes32 digest => bool) consentsUsed;
    mapping(bytes32 requestId => address) payers; // who paid for a repeat that its feeder did not pay
}
