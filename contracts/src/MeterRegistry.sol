// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IMeterRegistry} from "./interfaces/IMeterRegistry.sol";
import {IMeterUser} from "./interfaces/IMeterUser.sol";
import {MeterKey, MeterKeyLib} from "./libraries/MeterKey.sol";
import {MeterSignature} from "./libraries/MeterSignature.sol";
import {ReadingHash} from "./libraries/ReadingHash.sol";

/// @title The meters that the regulator sealed: who signs for them, from which lot on, and what they can carry
/// @notice Keys are histories by lot and change only for lots not yet begun. The one exception is a proven
/// contradiction, which suspends a meter from the next lot that its market has not opened.
contract MeterRegistry is IMeterRegistry, IERC165, AccessManaged, EIP712 {
    /// @notice Capacities stay below this (14 GWh a lot), which leaves each 48-bit energy a spare bit to compare with.
    uint64 public constant MAX_CAPACITY = 2 ** 47 - 1;
    /// @notice A change can be announced this many lots ahead at most, so that a far one cannot block nearer ones.
    uint64 public constant MAX_LOTS_AHEAD = 8_928;

    struct Opening {
        uint64 lot;
        uint64 forward;
        uint64 reverse;
    }

    /// @inheritdoc IMeterRegistry
    uint32 public immutable lotSeconds;
    /// @notice The market, which tells from which lot on a dishonest meter can be suspended.
    IMeterUser public immutable market;

    mapping(bytes32 meterId => MeterKey) private _newest;
    mapping(bytes32 meterId => MeterKey[]) private _older;
    mapping(bytes32 meterId => Opening) private _openings;

    /// @param authority the AccessManager that says who the regulator is
    /// @param lotSeconds_ a lot's length for all meters here, 1 to 86,400 seconds
    /// @param market_ the market, known before it is deployed
    constructor(address authority, uint32 lotSeconds_, address market_) AccessManaged(authority) EIP712("Bijuli", "1") {
        if (lotSeconds_ == 0 || lotSeconds_ > 1 days) revert LotSecondsOutOfRange(lotSeconds_);
        lotSeconds = lotSeconds_;
        market = IMeterUser(market_);
    }

    // ------------------------------------------------------------------------------------------ the regulator

    /// @inheritdoc IMeterRegistry
    function registerMeter(
        address signer,
        uint64 capacity,
        LotReading calldata opening,
        bytes calldata signature
    ) external restricted {
        bytes32 meterId = opening.meterId;
        if (meterId == 0) revert ZeroMeterId();
        if (_newest[meterId].exists()) revert MeterAlreadyRegistered(meterId);
        if (signer == address(0)) revert ZeroSigner(meterId);
        _checkCapacity(capacity);
        _checkLotSeconds(opening.lotSeconds);
        // a meter that is being installed signs its opening for the lot that still runs: it has nothing to add to it
        if (opening.lot > currentLot()) revert LotNotOver(opening.lot);
        _checkEnergies(opening.energies);
        if (!MeterSignature.isValid(signer, readingDigest(opening), signature)) revert BadSignature(meterId, signer);

        _newest[meterId] = MeterKeyLib.pack(signer, capacity, opening.lot, false);
        _openings[meterId] = Opening(opening.lot, opening.forward, opening.reverse);
        emit MeterRegistered(meterId, signer, opening.lot + 1, capacity, opening.forward, opening.reverse);
    }

    /// @inheritdoc IMeterRegistry
    function rotateSigner(bytes32 meterId, address signer, uint64 fromLot) external restricted {
        MeterKey key = _known(meterId);
        if (signer == address(0)) revert ZeroSigner(meterId);
        if (key.suspended()) revert MeterIsSuspended(meterId, key.fromLot());
        _append(meterId, key, fromLot, MeterKeyLib.pack(signer, key.capacity(), fromLot, false));
        emit SignerRotated(meterId, signer, fromLot);
    }

    /// @inheritdoc IMeterRegistry
    function setCapacity(bytes32 meterId, uint64 capacity, uint64 fromLot) external restricted {
        MeterKey key = _known(meterId);
        _checkCapacity(capacity);
        _append(meterId, key, fromLot, MeterKeyLib.pack(key.signer(), capacity, fromLot, key.suspended()));
        emit CapacitySet(meterId, capacity, fromLot);
    }

    /// @inheritdoc IMeterRegistry
    function suspend(bytes32 meterId, uint64 fromLot) external restricted {
        MeterKey key = _known(meterId);
        if (key.suspended()) revert MeterIsSuspended(meterId, key.fromLot());
        _append(meterId, key, fromLot, MeterKeyLib.pack(key.signer(), key.capacity(), fromLot, true));
        emit MeterSuspended(meterId, fromLot);
    }

    /// @inheritdoc IMeterRegistry
    function reinstate(bytes32 meterId, address signer, uint64 fromLot) external restricted {
        MeterKey key = _known(meterId);
        if (signer == address(0)) revert ZeroSigner(meterId);
        if (!key.suspended()) revert MeterNotSuspended(meterId);
        _append(meterId, key, fromLot, MeterKeyLib.pack(signer, key.capacity(), fromLot, false));
        emit MeterReinstated(meterId, signer, fromLot);
    }

    // ------------------------------------------------------------------------------------------ anyone

    /// @inheritdoc IMeterRegistry
    function reportEquivocation(bytes32 meterId, address signer, Testimony calldata a, Testimony calldata b) external {
        MeterKey newest = _known(meterId);
        _checkTestimony(meterId, signer, a);
        _checkTestimony(meterId, signer, b);
        (uint64 lot, uint64 registerA, uint64 registerB) = _contradiction(meterId, a, b);

        // A retired signer's key may have leaked after its time: what it signs now says nothing of the meter today.
        // One that is only announced to retire is not retired yet.
        MeterKey current = _keyAt(meterId, currentLot());
        bool suspends = current.signer() == signer && !current.suspended();
        emit EquivocationProven(meterId, signer, lot, registerA, registerB, suspends);
        if (!suspends) return;
        uint64 fromLot = market.nextLotOf(meterId);
        if (fromLot == 0) fromLot = currentLot();
        _suspendNow(meterId, newest, fromLot);
    }

    // ------------------------------------------------------------------------------------------ views

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return
            interfaceId == type(IERC165).interfaceId ||
            interfaceId == type(IERC5267).interfaceId ||
            interfaceId == type(IMeterRegistry).interfaceId;
    }

    /// @inheritdoc IMeterRegistry
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @notice The lot that the chain's clock is in.
    function currentLot() public view returns (uint64) {
        return uint64(block.timestamp / lotSeconds);
    }

    /// @inheritdoc IMeterRegistry
    function isMeter(bytes32 meterId) external view returns (bool) {
        return _newest[meterId].exists();
    }

    /// @inheritdoc IMeterRegistry
    function openingOf(bytes32 meterId) external view returns (uint64 lot, uint64 forward, uint64 reverse) {
        _known(meterId);
        Opening storage opening = _openings[meterId];
        return (opening.lot, opening.forward, opening.reverse);
    }

    /// @inheritdoc IMeterRegistry
    function signerAt(bytes32 meterId, uint64 lot) external view returns (address signer, bool suspended) {
        MeterKey key = _keyAt(meterId, lot);
        return (key.signer(), key.suspended());
    }

    /// @inheritdoc IMeterRegistry
    function capacityAt(bytes32 meterId, uint64 lot) external view returns (uint64) {
        return _keyAt(meterId, lot).capacity();
    }

    /// @inheritdoc IMeterRegistry
    function keysAt(
        bytes32[] calldata meterIds,
        uint64 lot
    ) external view returns (bytes32 domain, uint256[] memory keys) {
        domain = _domainSeparatorV4();
        keys = new uint256[](meterIds.length);
        for (uint256 i = 0; i < meterIds.length; ++i) {
            keys[i] = MeterKey.unwrap(_keyAt(meterIds[i], lot));
        }
    }

    /// @inheritdoc IMeterRegistry
    function readingDigest(LotReading calldata reading) public view returns (bytes32) {
        return
            _hashTypedDataV4(
                ReadingHash.structHash(
                    reading.meterId,
                    reading.lot,
                    reading.lotSeconds,
                    reading.forward,
                    reading.reverse,
                    reading.quality,
                    reading.energies
                )
            );
    }

    /// @inheritdoc IMeterRegistry
    function isValidReading(LotReading calldata reading, bytes calldata signature) external view returns (bool) {
        MeterKey key = _keyAt(reading.meterId, reading.lot);
        return
            key.exists() &&
            !key.suspended() &&
            reading.lotSeconds == lotSeconds &&
            reading.energies.length != 0 &&
            reading.energies.length % 6 == 0 &&
            MeterSignature.isValid(key.signer(), readingDigest(reading), signature);
    }

    // ------------------------------------------------------------------------------------------ inside

    function _known(bytes32 meterId) private view returns (MeterKey key) {
        key = _newest[meterId];
        if (!key.exists()) revert UnknownMeter(meterId);
    }

    function _keyAt(bytes32 meterId, uint64 lot) private view returns (MeterKey key) {
        key = _newest[meterId];
        if (key.fromLot() <= lot) return key;
        MeterKey[] storage older = _older[meterId];
        uint256 begun = _begunBy(older, lot);
        return begun == 0 ? MeterKey.wrap(0) : older[begun - 1];
    }

    /// @dev How many keys hold from `lot` or earlier; by halves, so that however many changes are announced, a page
    /// costs about the same.
    function _begunBy(MeterKey[] storage older, uint64 lot) private view returns (uint256 begun) {
        uint256 end = older.length;
        while (begun < end) {
            uint256 middle = (begun + end) / 2;
            if (older[middle].fromLot() <= lot) begun = middle + 1;
            else end = middle;
        }
    }

    /// @dev Changes hold for lots not yet begun, in the order of their lots; one for the same lot replaces the other.
    /// @param fromLot the key's, before it is cut to the bits that a key has for it
    function _append(bytes32 meterId, MeterKey newest, uint64 fromLot, MeterKey key) private {
        uint64 firstFree = currentLot() + 1;
        if (fromLot < firstFree) revert LotBegun(fromLot, firstFree);
        if (fromLot > firstFree + MAX_LOTS_AHEAD) revert TooFarAhead(fromLot, firstFree + MAX_LOTS_AHEAD);
        if (fromLot < newest.fromLot()) revert OutOfOrder(fromLot, newest.fromLot());
        if (fromLot > newest.fromLot()) _older[meterId].push(newest);
        _newest[meterId] = key;
    }

    /// @dev Drops what was announced for later lots, which the suspension overtakes.
    function _suspendNow(bytes32 meterId, MeterKey newest, uint64 fromLot) private {
        MeterKey[] storage older = _older[meterId];
        MeterKey key = newest;
        if (newest.fromLot() < fromLot) {
            older.push(newest);
        } else {
            uint256 kept = fromLot == 0 ? 0 : _begunBy(older, fromLot - 1);
            if (older.length != 0) key = older[kept == 0 ? 0 : kept - 1];
            // at once, however many there are; a later push writes over what is left behind
            assembly ("memory-safe") {
                sstore(older.slot, kept)
            }
        }
        _newest[meterId] = MeterKeyLib.pack(key.signer(), key.capacity(), fromLot, true);
        emit MeterSuspended(meterId, fromLot);
    }

    function _checkTestimony(bytes32 meterId, address signer, Testimony calldata t) private view {
        if (_keyAt(meterId, t.lot).signer() != signer || signer == address(0)) {
            revert SignerRetired(meterId, signer, t.lot);
        }
        _checkEnergies(t.energies);
        bytes32 hash = ReadingHash.structHash(meterId, t.lot, lotSeconds, t.forward, t.reverse, t.quality, t.energies);
        if (!MeterSignature.isValid(signer, _hashTypedDataV4(hash), t.signature)) revert BadSignature(meterId, signer);
    }

    /// @dev The newest lot's end at which the two differ. Registers are compared modulo 2^64: an honest meter's never
    /// run below zero, so it signs no two readings that differ in this.
    function _contradiction(
        bytes32 meterId,
        Testimony calldata a,
        Testimony calldata b
    ) private pure returns (uint64 lot, uint64 registerA, uint64 registerB) {
        if (a.lot == b.lot && a.reverse != b.reverse) return (a.lot, a.reverse, b.reverse);
        lot = a.lot < b.lot ? a.lot : b.lot;
        uint256 lastA = a.lot - lot;
        uint256 lastB = b.lot - lot;
        uint256 lotsA = a.energies.length / 6;
        uint256 lotsB = b.energies.length / 6;
        if (lastA > lotsA || lastB > lotsB) revert NoCommonLot(meterId);
        unchecked {
            registerA = a.forward;
            registerB = b.forward;
            for (uint256 i = 1; i <= lastA; ++i) registerA -= _energy(a.energies, lotsA - i);
            for (uint256 i = 1; i <= lastB; ++i) registerB -= _energy(b.energies, lotsB - i);
            while (registerA == registerB) {
                if (++lastA > lotsA || ++lastB > lotsB || lot == 0) revert NoContradiction(meterId);
                registerA -= _energy(a.energies, lotsA - lastA);
                registerB -= _energy(b.energies, lotsB - lastB);
                --lot;
            }
        }
    }

    function _energy(bytes calldata energies, uint256 index) private pure returns (uint64) {
        return uint48(bytes6(energies[index * 6:index * 6 + 6]));
    }

    function _checkCapacity(uint64 capacity) private pure {
        if (capacity == 0 || capacity > MAX_CAPACITY) revert CapacityOutOfRange(capacity);
    }

    function _checkLotSeconds(uint32 given) private view {
        if (given != lotSeconds) revert WrongLotSeconds(given, lotSeconds);
    }

    function _checkEnergies(bytes calldata energies) private pure {
        if (energies.length == 0 || energies.length % 6 != 0) revert BadEnergies(energies.length);
    }
}
