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
    event FeederCreated(bytes32 indexed feeder, uint32 number, string name);
    event Chartered(
        bytes32 indexed feeder,
        uint64 indexed fromLot,
        uint16 number,
        Terms terms,
        uint32 distributor,
        PlantSeat[] plants,
        uint16 consumers
    );
    event ConsumersListed(bytes32 indexed feeder, uint64 indexed fromLot, uint32[] accounts);
    event ConsumersDelisted(bytes32 indexed feeder, uint64 indexed fromLot, uint32[] accounts);
    event OperatorsSet(bytes32 indexed feeder, OracleSeat[] operators);
    event OpeningsPaused(bytes32 indexed feeder, bool paused);

    // ---------------------------------------------------------------- clearing
    event LotsOpened(bytes32 indexed feeder, uint64 indexed lot, uint32 lots);
    event StageRequested(
        bytes32 indexed requestId,
        bytes32 indexed feeder,
        uint64 indexed lot,
        Stage stage,
        uint16 first,
        uint16 count,
        address operator
    );
    event Deferred(
        bytes32 indexed requestId,
        bytes32 indexed feeder,
        uint64 indexed lot,
        Stage stage,
        uint16 first,
        Deferral reason
    );
    event ReadingRefused(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        Stage stage,
        Refusal reason
    );
    /// @param energy what entered the clearing, in Units: measured, cut to capacity, corrected
    event PlantCleared(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, uint256 energy);
    /// @param paid what the clearing added to the plant's money, in wei
    event PlantPaid(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, uint256 paid);
    event DistributorCleared(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        uint256 sent,
        uint256 received,
        uint256 available
    );
    /// @param energy all that was charged with this record, in Units; it may reach back over several clearings
    /// @param charged what it added to the consumer's money, in wei
    event ConsumerCleared(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        uint256 energy,
        uint256 charged
    );
    event ClearingClosed(
        bytes32 indexed feeder,
        uint64 indexed lot,
        uint256 delivered,
        uint256 unaccounted,
        uint256 overdrawn
    );
    /// @param cut the energy above capacity that was not counted, in Units
    event CapacityExceeded(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, uint256 cut);
    event Estimated(bytes32 indexed feeder, bytes32 indexed meterId, uint64 indexed lot, bytes energies);
    /// @param carried what is still to be added to (or taken off) the meter's next lots, in Units
    event Corrected(
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        uint64 indexed lot,
        int256 correction,
        int256 carried
    );

    // ---------------------------------------------------------------- accounts
    event Joined(
        uint32 indexed account,
        bytes32 indexed feeder,
        bytes32 indexed meterId,
        Role role,
        address owner,
        uint64 priceLimit
    );
    event Left(uint32 indexed account, bytes32 indexed feeder, uint64 fromLot);
    event Deposited(uint32 indexed account, address indexed from, uint256 amount);
    event Withdrawn(uint32 indexed account, address indexed to, uint256 amount);
    event ArrearsGrown(uint32 indexed debtor, uint32 indexed creditor, uint256 amount);
    event ArrearsPaid(uint32 indexed debtor, uint256 amount);
    event ClaimCollected(uint32 indexed debtor, uint32 indexed creditor, uint256 amount);
    event ReserveLow(uint32 indexed account, uint256 balance, uint256 reserve);
    event LinkFunded(bytes32 indexed feeder, address indexed from, uint256 amount);
    event LinkWithdrawn(bytes32 indexed feeder, address indexed to, uint256 amount);

    // ---------------------------------------------------------------- what anyone may do
    function openLots(bytes32 feeder, uint64 lot) external;
    function requestStage(bytes32 feeder, uint64 lot, Stage stage, uint16 first) external;
    function submit(bytes32 feeder, uint64 lot, Stage stage, uint16 first, bytes calldata records) external;
    function close(bytes32 feeder, uint64 lot) external;
    function join(bytes32 feeder, bytes32 meterId, Role role, uint64 priceLimit) external returns (uint32 account);
    function leave(uint32 account) external;
    function deposit(uint32 account) external payable;
    function withdraw(uint32 account, address payable to, uint256 amount) external;

    // ---------------------------------------------------------------- the regulator
    function createFeeder(string calldata name) external returns (bytes32 feeder);
    function setCharter(
        bytes32 feeder,
        uint64 fromLot,
        Terms calldata terms,
        uint32 distributor,
        PlantSeat[] calldata plants
    ) external;
    function listConsumers(bytes32 feeder, uint64 fromLot, uint32[] calldata accounts) external;
    function delistConsumers(bytes32 feeder, uint64 fromLot, uint32[] calldata accounts) external;
    function setOperators(bytes32 feeder, OracleSeat[] calldata operators) external;
    function pauseOpenings(bytes32 feeder, bool paused) external;

    // ---------------------------------------------------------------- views
    function nextOpening(bytes32 feeder) external view returns (uint64 lot, uint64 notBefore);
    function lotsPerClearing(bytes32 feeder) external view returns (uint32);
    function pricePerKWh(bytes32 feeder, uint64 lot) external view returns (uint64);
}
