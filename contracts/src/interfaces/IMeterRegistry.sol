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

    /// @notice A meter is sealed. `capacity` in Units per lot; its registers at its start in Units.
    /// @param fromLot the first lot that it reads
    event MeterRegistered(
        bytes32 indexed meterId,
        address indexed signer,
        uint64 fromLot,
        uint64 capacity,
        uint64 openingForward,
        uint64 openingReverse
    );
    /// @notice From `fromLot` on this key signs for the meter.
    event SignerRotated(bytes32 indexed meterId, address indexed signer, uint64 fromLot);
    /// @notice From `fromLot` on the meter can carry `capacity` Units a lot.
    event CapacitySet(bytes32 indexed meterId, uint64 capacity, uint64 fromLot);
    /// @notice From `fromLot` on no reading of the meter counts.
    event MeterSuspended(bytes32 indexed meterId, uint64 fromLot);
    /// @notice From `fromLot` on its readings count again, signed by this key.
    event MeterReinstated(bytes32 indexed meterId, address indexed signer, uint64 fromLot);
    /// @notice One key signed two registers, in Units, for one lot's end.
    /// @param suspends whether the key is in force, so that the meter is suspended
    event EquivocationProven(
        bytes32 indexed meterId,
        address indexed signer,
        uint64 lot,
        uint64 register,
        uint64 otherRegister,
        bool suspends
    );

    /// @notice Nobody registered this meter.
    error UnknownMeter(bytes32 meterId);
    /// @notice A meter is registered once.
    error MeterAlreadyRegistered(bytes32 meterId);
    /// @notice keccak256 of a serial is not 0.
    error ZeroMeterId();
    /// @notice A meter needs a signer.
    error ZeroSigner(bytes32 meterId);
    /// @notice Units per lot, 1 to 2^47 − 1.
    error CapacityOutOfRange(uint64 capacity);
    /// @notice Seconds.
    error WrongLotSeconds(uint32 given, uint32 expected);
    /// @notice Changes hold from `firstFree` on at the earliest.
    error LotBegun(uint64 lot, uint64 firstFree);
    /// @notice Changes are made in the order of their lots.
    error OutOfOrder(uint64 fromLot, uint64 newest);
    /// @notice Changes are announced at most to `latest`.
    error TooFarAhead(uint64 fromLot, uint64 latest);
    /// @notice An opening is of a lot that has begun.
    error LotNotOver(uint64 lot);
    /// @notice Bytes: 6 a lot, at least one lot.
    error BadEnergies(uint256 length);
    /// @notice Not signed by this signer.
    error BadSignature(bytes32 meterId, address signer);
    /// @notice That key does not sign for this lot.
    error SignerRetired(bytes32 meterId, address signer, uint64 lot);
    /// @notice It is suspended from that lot on.
    error MeterIsSuspended(bytes32 meterId, uint64 fromLot);
    /// @notice It is not suspended.
    error MeterNotSuspended(bytes32 meterId);
    /// @notice The two readings have no lot's end in common.
    error NoCommonLot(bytes32 meterId);
    /// @notice The two readings agree.
    error NoContradiction(bytes32 meterId);
    /// @notice 1 to 86,400 seconds.
    error LotSecondsOutOfRange(uint32 lotSeconds);

    /// @notice A lot's length in seconds, for all meters here.
    function lotSeconds() external view returns (uint32);
    /// @notice The EIP-712 domain under which all meters here sign.
    function domainSeparator() external view returns (bytes32);

    /// @param signer who signs for it: a key, or a contract (ERC-1271)
    /// @param capacity Units per lot, 1 to 2^47 − 1
    /// @notice Registers a meter with the registers it starts from, signed by itself (the reading of the lot before its first).
    function registerMeter(
        address signer,
        uint64 capacity,
        LotReading calldata opening,
        bytes calldata signature
    ) external;
    /// @notice Another key signs from a lot not yet begun on.
    function rotateSigner(bytes32 meterId, address signer, uint64 fromLot) external;
    /// @notice The meter can carry `capacity` Units a lot, from a lot not yet begun on.
    function setCapacity(bytes32 meterId, uint64 capacity, uint64 fromLot) external;
    /// @notice No reading counts from a lot not yet begun on.
    function suspend(bytes32 meterId, uint64 fromLot) external;
    /// @notice A suspended meter's readings count again from a lot not yet begun on.
    function reinstate(bytes32 meterId, address signer, uint64 fromLot) external;

    /// @notice Two readings of one signer that give its meter two registers at one lot's end; callable by anyone.
    function reportEquivocation(bytes32 meterId, address signer, Testimony calldata a, Testimony calldata b) external;

    /// @notice Whether the meter is registered.
    function isMeter(bytes32 meterId) external view returns (bool);
    /// @notice The opening reading: the lot before the meter's first, and its registers then.
    function openingOf(bytes32 meterId) external view returns (uint64 lot, uint64 forward, uint64 reverse);
    /// @notice Who signs for a lot, and whether the meter is suspended then; 0 before its first.
    function signerAt(bytes32 meterId, uint64 lot) external view returns (address signer, bool suspended);
    /// @notice Units that the meter can carry in a lot; 0 before its first.
    function capacityAt(bytes32 meterId, uint64 lot) external view returns (uint64);

    /// @notice What a page needs, in one call: the packed key of each meter in force at `lot` (see MeterKey), 0 where there is none.
    function keysAt(
        bytes32[] calldata meterIds,
        uint64 lot
    ) external view returns (bytes32 domain, uint256[] memory keys);

    /// @notice The EIP-712 digest of a reading.
    function readingDigest(LotReading calldata reading) external view returns (bytes32);
    /// @notice Whether the signer of the reading's last lot signed it, and the meter is not suspended then.
    function isValidReading(LotReading calldata reading, bytes calldata signature) external view returns (bool);
}
