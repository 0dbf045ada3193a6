// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice A clearing's stages, in their order. In a request's CBOR they are "plant", "distributor", "consumers".
enum Stage {
    Plant,
    Distributor,
    Consumers
}

/// @notice What an account may be in a feeder.
enum Role {
    Plant,
    Distributor,
    Consumer
}

/// @notice Why a record was not taken.
enum Refusal {
    None,
    Missing, // 1: two zero bytes: the adapter had no reading
    Malformed, // 2: the record is longer than what was delivered
    TooShort, // 3: it does not reach back to the meter's cursor
    WrongRegister, // 4: its register at the cursor is not the one that was cleared
    BadSignature, // 5: not signed by the meter's signer of that lot
    Suspended, // 6: the meter is suspended, or unknown at that lot
    AlreadyCleared, // 7: the meter's cursor is there already
    BadEnergies // 8: the energies exceed the register
}

/// @notice Why a delivery did not finish its stage; deliver the same records again when the reason is gone.
enum Deferral {
    None,
    OutOfTurn, // 1: an earlier stage or clearing is not done
    OutOfGas, // 2: the gas left does not suffice for the rest
    ReadingMissing // 3: a plant's or the distributor's record was missing or refused; the stage stays open
}

/// @notice A feeder's terms; they hold from one lot on and never inside a clearing.
/// @param idealLossBps the loss that the network cannot avoid, in bps of the energy sent
/// @param serviceBps the distributor's margin
/// @param penaltyBps what a bps of excess loss takes off the price, in bps (10,000 = one for one)
/// @param toleranceBps excess loss that goes unpunished (measuring error)
/// @param maxPricePerKWh cap of the consumers' price, in wei per kWh; 0: none
/// @param reserve what consumers and the distributor keep in their accounts, in wei
/// @param graceSeconds from a lot's end until consumers may be left out and the clearing closed by anyone
/// @param estimateSeconds from a lot's end until the regulator may estimate a silent plant or distributor
/// @param abandonSeconds from a lot's end until anyone may close without it
/// @param openDelay from a lot's end until it may be opened
/// @param repeatSeconds from a request until it may be repeated with the next operator
/// @param freeRepeats how many repeats of a request the feeder pays
/// @param lotsPerClearing lots that an opening takes at least, 1 to 2,016
/// @param tokensPerConsumer true: used tokens are sent to each consumer's meter and burned there; false: one burn a page
struct Terms {
    uint16 idealLossBps;
    uint16 serviceBps;
    uint32 penaltyBps;
    uint16 toleranceBps;
    uint64 maxPricePerKWh;
    uint96 reserve;
    uint32 graceSeconds;
    uint32 estimateSeconds;
    uint32 abandonSeconds;
    uint32 openDelay;
    uint32 repeatSeconds;
    uint8 freeRepeats;
    uint16 lotsPerClearing;
    bool tokensPerConsumer;
}

/// @notice A plant in a feeder's charter.
/// @param account the account that is paid
/// @param pricePerKWh what it gets, in wei per kWh, below 2^62
struct PlantSeat {
    uint32 account;
    uint64 pricePerKWh;
}

/// @notice An oracle that serves a feeder's requests.
struct OracleSeat {
    address operator;
    bytes32 specId;
    uint96 payment;
}

/// @title Clears feeders lot by lot
/// @notice Energies are Units (0.1 µkWh), money is wei, prices are wei per kWh, times are unix seconds. A clearing is
/// named by (feeder, its last lot).
interface IEnergyMarket {
    // ---------------------------------------------------------------- feeders and terms
    /// @notice A feeder is there; `feeder` is keccak256 of its name, `number` counts from 1.
    event FeederCreated(bytes32 indexed feeder, uint32 number, string name);
    /// @notice From `fromLot` on these terms, members and prices (wei per kWh) hold; all that holds, not what changed.
    /// @param number the charter's, from 0; one for the same lot has the number of the one that it replaces
    /// @param distributor its account; 0: the feeder ends with the lot before
    /// @param consumers how many are listed
    event Chartered(
        bytes32 indexed feeder,
        uint64 indexed fromLot,
        uint32 number,
        Terms terms,
        uint32 distributor,
        PlantSeat[] plants,
        uint16 consumers
    );
    /// @notice From `fromLot` on these accounts are behind the others in the list.
    event ConsumersListed(bytes32 indexed feeder, uint64 indexed fromLot, uint32[] accounts);
    /// @notice From `fromLot` on these are out; the list's last takes the place of each, one after another.
    event ConsumersDelisted(bytes32 indexed feeder, uint64 indexed fromLot, uint32[] accounts);
    /// @notice Who is asked from now on, in this order; payments in 10^-18 LINK.
    event OperatorsSet(bytes32 indexed feeder, OracleSeat[] operators);
    /// @notice No lots are opened, or again.
    event OpeningsPaused(bytes32 indexed feeder, bool paused);

    // ---------------------------------------------------------------- clearing
    /// @notice A clearing of the `lots` lots that end with `lot` is open.
    event LotsOpened(bytes32 indexed feeder, uint64 indexed lot, uint32 lots);
    /// @notice The readings of `count` members of a stage, from `first` in its list on, are asked for.
    event StageRequested(
        bytes32 indexed requestId,
        bytes32 indexed feeder,
        uint64 indexed lot,
        Stage stage,
        uint16 first,
        uint16 count,
        address operator
    );
    /// @notice The operator, or LINK, did not take the request: it costs nothing. The next operator is asked under the
    /// same id; `operator` 0: none is left, and the request can be repeated.
    event RequestRefused(
        bytes32 indexed requestId,
        bytes32 indexed feeder,
        uint64 indexed lot,
        Stage stage,
        uint16 first,
        address operator
    );
    /// @notice A delivery did not finish its stage; deliver again. `requestId` 0: it was submitted.
    /// @param first the page's first member
    event Deferred(
        bytes32 indexed requestId,
        bytes32 indexed feeder,
        uint64 indexed lot,
        Stage stage,
        uint16 first,
        Deferral reason
    );
    /// @notice A record was not taken; all others of its page were looked at.
    event ReadingRefused(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        Stage stage,
        Refusal reason
    );
    /// @notice A plant's lots of a clearing have entered it.
    /// @param energy what entered the clearing, in Units: measured, cut to capacity, corrected
    event PlantCleared(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, uint256 energy);
    /// @notice What the distributor owes a plant for a clearing; `ArrearsGrown` tells what it could not pay.
    /// @param paid what the clearing added to the plant's money, in wei
    event PlantPaid(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, uint256 paid);
    /// @notice A clearing's lots are priced. Units over all of them.
    /// @param sent what the plants sent
    /// @param received what the distributor's meter says, or was taken to say
    /// @param available the sum of each lot's min(sent, received)
    event DistributorCleared(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        uint256 sent,
        uint256 received,
        uint256 available
    );
    /// @notice A consumer's lots up to `lot` are charged.
    /// @param energy all that was charged with this record, in Units; it may reach back over several clearings
    /// @param charged what it added to the consumer's money, in wei
    event ConsumerCleared(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        uint256 energy,
        uint256 charged
    );
    /// @notice A clearing is closed: all consumers are done, or the grace time is over. Units over its lots.
    /// @param delivered min(available, used)
    /// @param unaccounted available and used by nobody: burned
    /// @param overdrawn used beyond what was available
    event ClearingClosed(
        bytes32 indexed feeder,
        uint64 indexed lot,
        uint256 delivered,
        uint256 unaccounted,
        uint256 overdrawn
    );
    /// @notice A meter said more than it can carry.
    /// @param cut the energy above capacity that was not counted, in Units
    event CapacityExceeded(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, uint256 cut);
    /// @notice A silent meter's lots were estimated.
    /// @param energies Units, 6 bytes big-endian a lot; none: it was gone on without
    event Estimated(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, bytes energies);
    /// @notice What a late reading said beyond the estimate has entered the clearing.
    /// @param correction what entered, in Units; negative: it was taken off
    /// @param carried what is still to be added to (or taken off) the meter's next lots, in Units
    event Corrected(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        int256 correction,
        int256 carried
    );

    // ---------------------------------------------------------------- accounts
    /// @notice An account was made.
    /// @param priceLimit wei per kWh: the highest a consumer or distributor accepts, the lowest a plant sells at
    event Joined(
        uint32 indexed account,
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        Role role,
        address owner,
        uint64 priceLimit
    );
    /// @notice From `fromLot` on another meter is read in the account's place; the old one still reads the lots before.
    event MeterReplaced(uint32 indexed account, bytes32 indexed oldMeterId, bytes32 indexed meterId, uint64 fromLot);
    /// @notice The account's owner takes no part any more, from `fromLot` on.
    event Left(uint32 indexed account, bytes32 indexed feeder, uint64 fromLot);
    /// @notice `amount` wei came in for an account; its arrears are paid first.
    event Deposited(uint32 indexed account, address indexed from, uint256 amount);
    /// @notice `amount` wei went out of an account.
    event Withdrawn(uint32 indexed account, address indexed to, uint256 amount);
    /// @notice What the debtor owes the creditor grew by `amount` wei.
    event ArrearsGrown(uint32 indexed debtor, uint32 indexed creditor, uint256 amount);
    /// @notice The debtor paid `amount` wei of what it owes: to its only creditor at once, to several when they collect.
    event ArrearsPaid(uint32 indexed debtor, uint256 amount);
    /// @notice A creditor got its part of what a debtor had paid, in wei.
    event ClaimCollected(uint32 indexed debtor, uint32 indexed creditor, uint256 amount);
    /// @notice Said once when a balance falls below the reserve, in wei: who should be disconnected.
    event ReserveLow(uint32 indexed account, uint256 balance, uint256 reserve);
    /// @notice A feeder's LINK grew, by 10^-18 LINK: sent to it, or back from a cancelled request.
    event LinkFunded(bytes32 indexed feeder, address indexed from, uint256 amount);
    /// @notice A cancelled repeat's LINK went back to who had paid it.
    /// @param amount 10^-18 LINK
    event LinkReturned(bytes32 indexed requestId, address indexed to, uint256 amount);
    /// @notice The regulator took LINK out of a feeder, in 10^-18 LINK.
    event LinkWithdrawn(bytes32 indexed feeder, address indexed to, uint256 amount);

    // ---------------------------------------------------------------- what anyone may do
    /// @notice Opens all lots after the last opened one up to `lot`, from the lot's end plus `openDelay` on, and sends as many
    /// requests as the gas suffices for; once more with the same lot, the rest. By anyone.
    /// @param lot the last lot to open; at least the charter's `lotsPerClearing` lots, at most 2,016, none beyond the charter
    function openLots(bytes32 feeder, uint64 lot) external;
    /// @notice Asks the next operator for a page, `repeatSeconds` after it was asked for last: at the feeder's cost
    /// `freeRepeats` times, then at the caller's, whose LINK must be approved. By anyone.
    /// @param lot the clearing's last lot
    /// @param stage 0 plants, 1 distributor, 2 consumers
    /// @param first the page's first member
    function requestStage(bytes32 feeder, uint64 lot, uint8 stage, uint16 first) external;
    /// @notice Delivers records without any oracle; the same as an operator's answer. By anyone. Never reverts for what they say.
    /// @param lot the clearing's last lot
    /// @param stage 0 plants, 1 distributor, 2 consumers
    /// @param first the member that the first record is of
    /// @param records one after another: n 2 | quality 2 | forward 8 | reverse 8 | r 32 | vs 32 | energies 6·n
    function submit(bytes32 feeder, uint64 lot, uint8 stage, uint16 first, bytes calldata records) external;
    /// @notice Closes a clearing whose consumers' stage has begun, `graceSeconds` after its end: what nobody used is burned. By anyone.
    /// @param lot the clearing's last lot
    function close(bytes32 feeder, uint64 lot) external;
    /// @notice Makes an account: the caller's place in one feeder, with one meter, in one role.
    /// @param role 0 plant, 1 distributor, 2 consumer
    /// @param priceLimit wei per kWh: the highest a consumer or distributor accepts, the lowest a plant sells at
    /// @return account its number
    function join(bytes32 feeder, bytes32 meterId, uint8 role, uint64 priceLimit) external returns (uint32 account);
    /// @notice The owner leaves, from the next lot on that has not begun and is not announced.
    function leave(uint32 account) external;
    /// @notice Adds the ether sent to an account, whose arrears are paid first. By anyone.
    function deposit(uint32 account) external payable;
    /// @notice Pays the owner's ether out, down to the reserve.
    /// @param amount wei
    function withdraw(uint32 account, address payable to, uint256 amount) external;

    // ---------------------------------------------------------------- the regulator
    /// @notice Makes a feeder; `feeder` is keccak256 of its name.
    function createFeeder(string calldata name) external returns (bytes32 feeder);
    /// @notice Sets terms, distributor and plants from a lot not yet begun on, at most 8,928 lots ahead.
    /// @param fromLot the first lot that they hold for; not before the newest charter's
    /// @param distributor its account; 0: the feeder ends with the lot before
    /// @param plants at most 64, prices in wei per kWh
    function setCharter(
        bytes32 feeder,
        uint64 fromLot,
        Terms calldata terms,
        uint32 distributor,
        PlantSeat[] calldata plants
    ) external;
    /// @notice Adds accounts to the list from a lot not yet begun on; at most 4,096 in all.
    function listConsumers(bytes32 feeder, uint64 fromLot, uint32[] calldata accounts) external;
    /// @notice Takes accounts off the list from a lot not yet begun on; the list's last takes the place of each.
    function delistConsumers(bytes32 feeder, uint64 fromLot, uint32[] calldata accounts) external;
    /// @notice Sets who is asked from now on, at most 8; payments in 10^-18 LINK. None: lots are opened without requests.
    function setOperators(bytes32 feeder, OracleSeat[] calldata operators) external;
    /// @notice Puts another meter in the place of an account's, from a lot not yet begun on, at most 8,928 lots ahead. The
    /// account stays as it is; the old meter still reads the lots before. The new one must be registered; its register goes on
    /// from its opening reading if that is of the lot before `fromLot`, otherwise from its first reading here.
    function replaceMeter(uint32 account, bytes32 meterId, uint64 fromLot) external;
    /// @notice Stops openings, and nothing else, or allows them again.
    function pauseOpenings(bytes32 feeder, bool paused) external;

    // ---------------------------------------------------------------- views
    /// @notice The smallest lot that `openLots` takes next.
    /// @return lot the last lot of that clearing
    /// @return notBefore unix second from which it is taken
    function nextOpening(bytes32 feeder) external view returns (uint64 lot, uint64 notBefore);
    /// @notice How many lots the next opening takes at least.
    function lotsPerClearing(bytes32 feeder) external view returns (uint32);
    /// @notice What consumers pay for a lot, in wei per kWh, once the distributor's stage is done.
    function pricePerKWh(bytes32 feeder, uint64 lot) external view returns (uint64);
}
