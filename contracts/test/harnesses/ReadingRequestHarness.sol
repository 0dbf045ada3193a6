// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ReadingRequest} from "../../src/libraries/ReadingRequest.sol";

/// @title A request's CBOR, made in one buffer and piece by piece
contract ReadingRequestHarness {
    function encode(
        bytes32 group,
        uint64 lot,
        uint64 lots,
        string calldata stage,
        bytes32[] calldata meterIds
    ) external pure returns (bytes memory clever, bytes memory plain, bytes memory after_) {
        clever = ReadingRequest.encode(group, lot, lots, stage, meterIds);
        after_ = abi.encode(group); // what is claimed next stands behind it
        plain = abi.encodePacked(
            abi.encodePacked("\x66feeder\x58\x20", group, "\x63lot", _head(0, lot), "\x64lots", _head(0, lots)),
            "\x65stage",
            _head(0x60, bytes(stage).length),
            stage,
            "\x66meters",
            _head(0x40, 32 * meterIds.length),
            meterIds
        );
    }

    function idOf(uint256 nonce) external view returns (bytes32 clever, bytes32 plain) {
        return (ReadingRequest.idOf(nonce), keccak256(abi.encodePacked(this, nonce)));
    }

    function _head(uint8 major, uint256 value) private pure returns (bytes memory) {
        if (value < 24) return abi.encodePacked(uint8(major | value));
        if (value < 2 ** 8) return abi.encodePacked(uint8(major | 24), uint8(value));
        if (value < 2 ** 16) return abi.encodePacked(uint8(major | 25), uint16(value));
        if (value < 2 ** 32) return abi.encodePacked(uint8(major | 26), uint32(value));
        return abi.encodePacked(uint8(major | 27), uint64(value));
    }
}
