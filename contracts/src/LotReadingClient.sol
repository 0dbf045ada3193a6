// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChainlinkClient} from "@chainlink/contracts/src/v0.8/operatorforwarder/ChainlinkClient.sol";
import {OperatorInterface} from "@chainlink/contracts/src/v0.8/operatorforwarder/interfaces/OperatorInterface.sol";
import {LinkTokenInterface} from "@chainlink/contracts/src/v0.8/shared/interfaces/LinkTokenInterface.sol";
import {IMeterRegistry} from "./interfaces/IMeterRegistry.sol";
import {LotRecord} from "./libraries/LotRecord.sol";
import {MeterKey} from "./libraries/MeterKey.sol";
import {PendingRequest, ReadingRequest} from "./libraries/ReadingRequest.sol";

/// @title Pulls verified meter readings through Chainlink
/// @notice Inherit this, call `_requestReadings`, and implement `_onRecords`, which may call `_verify` to get readings
/// that prove themselves: whoever delivered them, the meter signed them.
/// @dev For an author: (1) say with each request, in 96 bits, what it is for; it comes back with the answer and is
/// written down before the request is sent, for an operator may call back inside it. (2) Do not revert in `_onRecords`
/// for what the records say: Operator swallows the revert and the request is spent. (3) The contract must hold the LINK
/// it pays.
///
/// It speaks ChainlinkClient's protocol (same request ids, same events), with a book of its own: ChainlinkClient keeps
/// a slot for each request's operator, and what the request is for would take a second one. Here they share it. Do not
/// use ChainlinkClient's own sending functions beside these: both count nonces. A request that its operator, or LINK,
/// does not take reverts with `LinkNotSent`.
abstract contract LotReadingClient is ChainlinkClient {
    /// @notice What `_verify` returns of a reading whose signature holds.
    struct VerifiedReading {
        bool valid; // false: missing, malformed, wrongly signed, or the meter is suspended or unknown
        uint16 quality;
        uint64 forward; // Units, at the end of the lot asked for
        uint64 reverse; // Units
        uint64[] energies; // Units, each covered lot, oldest first
    }

    /// @notice The meters' registry, under whose domain they sign.
    IMeterRegistry public immutable registry;
    LinkTokenInterface internal immutable _link;
    uint256 internal immutable _lotSeconds;

    uint256 private _nonce = 1;
    mapping(bytes32 requestId => PendingRequest) internal _pending;

    /// @notice A client needs a LINK token.
    error ZeroLink();
    /// @notice Only who was asked may answer, once.
    error NotTheOperatorAsked(bytes32 requestId, address caller);
    /// @notice Nothing is under way under this id.
    error UnknownRequest(bytes32 requestId);
    /// @notice The operator, or LINK, did not take the request; payment in 10^-18 LINK.
    error LinkNotSent(address operator, uint256 payment);

    constructor(IMeterRegistry registry_, address link) {
        if (link == address(0)) revert ZeroLink();
        registry = registry_;
        _link = LinkTokenInterface(link);
        _lotSeconds = registry_.lotSeconds();
    }

    /// @notice Chainlink's callback: only from the operator that was asked, once a request.
    /// @param records the readings' records, in the order of the request's meters
    function fulfill(bytes32 requestId, bytes calldata records) external {
        PendingRequest memory pending = _pending[requestId];
        if (msg.sender != pending.operator) revert NotTheOperatorAsked(requestId, msg.sender);
        delete _pending[requestId];
        emit ChainlinkFulfilled(requestId);
        _onRecords(requestId, pending.purpose, records);
    }

    /// @notice Who was asked, and what for; zero when the request is answered, cancelled or unknown.
    function pendingRequest(bytes32 requestId) external view returns (address operator, uint96 purpose) {
        PendingRequest memory pending = _pending[requestId];
        return (pending.operator, pending.purpose);
    }

    /// @dev Does something with the answer. Must not revert for what the records say.
    /// @param purpose as it was given with the request
    function _onRecords(bytes32 requestId, uint96 purpose, bytes calldata records) internal virtual;

    /// @dev Sends a request for the readings that cover `lots` lots ending with `lot`.
    /// @param operator the Operator contract
    /// @param specId the job's id there: 32 ASCII hex characters or 16 raw bytes
    /// @param payment LINK, from this contract's own balance
    /// @param purpose anything; it comes back with the answer
    /// @param group what nodes keep in order (the market's feeder); any value
    /// @param lot the last lot to cover, below 2^64
    /// @param lots how many lots to cover, below 2^64
    /// @param stage "plant", "distributor" or "consumers": only the last may be answered with missing records
    /// @param meterIds which meters, in which order
    function _requestReadings(
        address operator,
        bytes32 specId,
        uint256 payment,
        uint96 purpose,
        bytes32 group,
        uint256 lot,
        uint256 lots,
        string memory stage,
        bytes32[] memory meterIds
    ) internal returns (bytes32 requestId) {
        uint256 nonce = _nonce++;
        ReadingRequest.Order memory order = ReadingRequest.Order(_link, operator, specId, payment, purpose, nonce);
        bytes memory query = ReadingRequest.encode(group, lot, lots, stage, meterIds);
        if (!ReadingRequest.dispatch(_pending, order, query, gasleft())) revert LinkNotSent(operator, payment);
        return ReadingRequest.idOf(nonce);
    }

    /// @dev Takes an expired request's LINK back from its operator.
    /// @param payment what was paid; the operator holds it against the request
    /// @param expiration as in the operator's OracleRequest event
    function _cancelRequest(bytes32 requestId, uint256 payment, uint256 expiration) internal returns (uint96 purpose) {
        PendingRequest memory pending = _pending[requestId];
        if (pending.operator == address(0)) revert UnknownRequest(requestId);
        delete _pending[requestId];
        emit ChainlinkCancelled(requestId);
        OperatorInterface(pending.operator).cancelOracleRequest(requestId, payment, this.fulfill.selector, expiration);
        return pending.purpose;
    }

    /// @dev Reads and verifies the records of `meterIds` for a run of lots ending with `lot`; never reverts for what
    /// they say.
    function _verify(
        bytes32[] memory meterIds,
        uint64 lot,
        bytes calldata records
    ) internal view returns (VerifiedReading[] memory readings) {
        readings = new VerifiedReading[](meterIds.length);
        (bytes32 domain, uint256[] memory keys) = registry.keysAt(meterIds, lot);
        LotRecord.Record memory record;
        (uint256 at, uint256 end) = _span(records);
        for (uint256 i = 0; i < meterIds.length; ++i) {
            at = LotRecord.read(record, at, end);
            if (at == 0) break; // it does not fit: what follows cannot be told apart
            if (record.lots == 0) continue;
            MeterKey key = MeterKey.wrap(keys[i]);
            if (!key.exists() || key.suspended()) continue;
            if (!LotRecord.isSigned(record, key, domain, meterIds[i], lot, _lotSeconds)) continue;
            VerifiedReading memory reading = readings[i];
            reading.valid = true;
            reading.quality = uint16(record.quality);
            reading.forward = uint64(record.forward);
            reading.reverse = uint64(record.reverse);
            reading.energies = new uint64[](record.lots);
            for (uint256 j = 0; j < record.lots; ++j) reading.energies[j] = _energyAt(record.energies, j);
        }
    }

    /// @dev Where calldata bytes begin and end.
    function _span(bytes calldata data) internal pure returns (uint256 at, uint256 end) {
        assembly ("memory-safe") {
            at := data.offset
            end := add(at, data.length)
        }
    }

    function _energyAt(uint256 offset, uint256 index) private pure returns (uint64 energy) {
        assembly ("memory-safe") {
            energy := shr(208, calldataload(add(offset, mul(6, index))))
        }
    }
}
