// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title The meters, who signs for them, and what they can carry
/// @notice A meter is known by meterId = keccak256 of its serial (NFC, UTF-8, 1–64 bytes). All energy is in Units of
/// 0.1 µkWh (1 kWh = 10,000,000 Units); a lot is `lotSeconds` long and numbered floor(unix seconds / lotSeconds).
interface IMeterRegistry {
    /// @notice What a meter signs, EIP-712 type LotReading under the domain ("Bijuli", "1", chainId, this registry).
    /// @param meterId keccak256 of the serial
    /// @param lot the last lot covered
    /// @param lotSeconds the length of a lot, in seconds; must be the registry's
    /// @param forward the register towards the load at the end of `lot`, in Units
    /// @param reverse the register the other way at the end of `lot`, in Units
    /// @param quality the covered lots' quality bits, or-ed
    /// @param energies forward energy of each covered lot, oldest first, 6 bytes big-endian each, in Units
    struct LotReading {
        bytes32 meterId;
        uint64 lot;
        uint32 lotSeconds;
        uint64 forward;
        uint64 reverse;
        uint16 quality;
        bytes energies;
    }

    /// @notice One side of a contradiction: everything of a reading but its meter, as it was signed.
    struct Testimony {
        uint64 lot;
        uint64 forward;
        uint64 reverse;
        uint16 quality;
        bytes energies;
        bytes signature;
    }

    event MeterRegistered(
        bytes32 indexed meterId,
        address indexed signer,
        uint64 fromLot,
        uint64 capacity,
        uint64 openingForward,
        uint64 openingReverse
    );
    event SignerRotated(bytes32 indexed meterId, address indexed signer, uint64 fromLot);
    event CapacitySet(bytes32 indexed meterId, uint64 capacity, uint64 fromLot);
    event MeterSuspended(bytes32 indexed meterId, uint64 fromLot);
    event MeterReinstated(bytes32 indexed meterId, address indexed signer, uint64 fromLot);
    event EquivocationProven(
        bytes32 indexed meterId,
        address indexed signer,
        uint64 lot,
        uint64 register,
        uint64 otherRegister,
        bool suspends
    );

    error UnknownMeter(bytes32 meterId);
    error MeterAlreadyRegistered(bytes32 meterId);
    error ZeroMeterId();
    error ZeroSigner(bytes32 meterId);
    error CapacityOutOfRange(uint64 capacity);
    error WrongLotSeconds(uint32 given, uint32 expected);
    error LotBegun(uint64 lot, uint64 firstFree);
    error OutOfOrder(uint64 fromLot, uint64 newest);
    error TooFarAhead(uint64 fromLot, uint64 latest);
    error LotNotOver(uint64 lot);
    error BadEnergies(uint256 length);
    error BadSignature(bytes32 meterId, address signer);
    error SignerRetired(bytes32 meterId, address signer, uint64 lot);
    error MeterIsSuspended(bytes32 meterId, uint64 fromLot);
    error MeterNotSuspended(bytes32 meterId);
    error NoCommonLot(bytes32 meterId);
    error NoContradiction(bytes32 meterId);
    error LotSecondsOutOfRange(uint32 lotSeconds);

    function lotSeconds() external view returns (uint32);
    function domainSeparator() external view returns (bytes32);

    /// @notice Registers a meter with the registers it starts from, signed by itself (the reading of the lot before its first).
    function registerMeter(
        address signer,
        uint64 capacity,
        LotReading calldata opening,
        bytes calldata signature
    ) external;
    function rotateSigner(bytes32 meterId, address signer, uint64 fromLot) external;
    function setCapacity(bytes32 meterId, uint64 capacity, uint64 fromLot) external;
    function suspend(bytes32 meterId, uint64 fromLot) external;
    function reinstate(bytes32 meterId, address signer, uint64 fromLot) external;

    /// @notice Two readings of one signer that give its meter two registers at one lot's end; callable by anyone.
    function reportEquivocation(bytes32 meterId, address signer, Testimony calldata a, Testimony calldata b) external;

    function isMeter(bytes32 meterId) external view returns (bool);
    /// @notice The opening reading: the lot before the meter's first, and its registers then.
    function openingOf(bytes32 meterId) external view returns (uint64 lot, uint64 forward, uint64 reverse);
    function signerAt(bytes32 meterId, uint64 lot) external view returns (address signer, bool suspended);
    function capacityAt(bytes32 meterId, uint64 lot) external view returns (uint64);

    /// @notice What a page needs, in one call: the packed key of each meter in force at `lot` (see MeterKey), 0 where there is none.
    function keysAt(
        bytes32[] calldata meterIds,
        uint64 lot
    ) external view returns (bytes32 domain, uint256[] memory keys);

    /// @notice The EIP-712 digest of a reading.
    function readingDigest(LotReading calldata reading) external view returns (bytes32);
    function isValidReading(LotReading calldata reading, bytes calldata signature) external view returns (bool);
}
