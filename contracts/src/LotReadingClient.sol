// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChainlinkClient} from "@chainlink/contracts/src/v0.8/operatorforwarder/ChainlinkClient.sol";
import {Chainlink} from "@chainlink/contracts/src/v0.8/operatorforwarder/Chainlink.sol";
import {IMeterRegistry} from "./interfaces/IMeterRegistry.sol";
import {LotRecord} from "./libraries/LotRecord.sol";
import {MeterKey} from "./libraries/MeterKey.sol";

/// @title Pulls verified meter readings through Chainlink
/// @notice Inherit this, call `_requestReadings`, and implement `_onRecords`, which may call `_verify` to get readings
/// that prove themselves: whoever delivered them, the meter signed them.
/// @dev Three rules for an author. (1) Store what a request is for under `_nextRequestId()` before `_requestReadings`:
/// an operator may call back inside it. (2) Do not revert in `_onRecords` for what the records say: Operator swallows
/// the revert and the request is spent. (3) The contract must hold the LINK it pays.
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
    uint256 internal immutable _lotSeconds;

    error ZeroLink();

    constructor(IMeterRegistry registry_, address link) {
        if (link == address(0)) revert ZeroLink();
        registry = registry_;
        _lotSeconds = registry_.lotSeconds();
        _setChainlinkToken(link);
    }

    /// @notice Chainlink's callback: only from the operator that was asked, once a request.
    /// @param records the readings' records, in the order of the request's meters
    function fulfill(bytes32 requestId, bytes calldata records) external recordChainlinkFulfillment(requestId) {
        _onRecords(requestId, records);
    }

    /// @dev Does something with the answer. Must not revert for what the records say.
    function _onRecords(bytes32 requestId, bytes calldata records) internal virtual;

    /// @dev The id that the next request will have.
    function _nextRequestId() internal view returns (bytes32) {
        return keccak256(abi.encodePacked(this, _getNextRequestCount()));
    }

    /// @dev Sends a request for the readings that cover `lots` lots ending with `lot`.
    /// @param operator the Operator contract
    /// @param specId the job's id there: 32 ASCII hex characters or 16 raw bytes
    /// @param payment LINK, from this contract's own balance
    /// @param group what nodes keep in order (the market's feeder); any value
    /// @param stage "plant", "distributor" or "consumers": only the last may be answered with missing records
    /// @param meterIds which meters, in which order
    function _requestReadings(
        address operator,
        bytes32 specId,
        uint256 payment,
        bytes32 group,
        uint256 lot,
        uint256 lots,
        string memory stage,
        bytes32[] memory meterIds
    ) internal returns (bytes32 requestId) {
        Chainlink.Request memory request;
        request.id = specId;
        request.callbackFunctionId = this.fulfill.selector;
        request.buf.buf = _encodeRequest(group, lot, lots, stage, meterIds);
        return _sendOperatorRequestTo(operator, request, payment);
    }

    /// @dev Reads and verifies the records of `meterIds` for a run of lots ending with `lot`; never reverts for what
    /// they say.
    function _verify(bytes32[] memory meterIds, uint64 lot, bytes calldata records)
        internal
        view
        returns (VerifiedReading[] memory readings)
    {
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

    /// @dev CBOR without the map's delimiters, as Chainlink's nodes expect it; numbers in their shortest form.
    function _encodeRequest(bytes32 group, uint256 lot, uint256 lots, string memory stage, bytes32[] memory meterIds)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(
            abi.encodePacked(
                "\x66feeder\x58\x20", group, "\x63lot", _head(0, lot), "\x64lots", _head(0, lots), "\x65stage"
            ),
            _head(0x60, bytes(stage).length),
            stage,
            "\x66meters",
            _head(0x40, 32 * meterIds.length),
            meterIds
        );
    }

    function _head(uint8 major, uint256 value) private pure returns (bytes memory) {
        if (value < 24) return abi.encodePacked(uint8(major | value));
        if (value < 2 ** 8) return abi.encodePacked(uint8(major | 24), uint8(value));
        if (value < 2 ** 16) return abi.encodePacked(uint8(major | 25), uint16(value));
        if (value < 2 ** 32) return abi.encodePacked(uint8(major | 26), uint32(value));
        return abi.encodePacked(uint8(major | 27), uint64(value));
    }
}
