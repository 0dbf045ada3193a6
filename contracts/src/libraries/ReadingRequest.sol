// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {OperatorInterface} from "@chainlink/contracts/src/v0.8/operatorforwarder/interfaces/OperatorInterface.sol";
import {LinkTokenInterface} from "@chainlink/contracts/src/v0.8/shared/interfaces/LinkTokenInterface.sol";

/// @notice A request that is under way: who was asked, and what for.
struct PendingRequest {
    address operator;
    uint96 purpose;
}

/// @title One request for readings: its CBOR, and how it is sent
library ReadingRequest {
    /// @dev ChainlinkClient's, whose protocol this is.
    event ChainlinkRequested(bytes32 indexed id);

    bytes4 private constant _FULFILL = bytes4(keccak256("fulfill(bytes32,bytes)"));
    uint256 private constant _MULTIWORD = 2; // Operator's data version for answers of any length

    /// @notice The id that an Operator gives to this contract's request with that nonce.
    function idOf(uint256 nonce) internal view returns (bytes32 id) {
        assembly ("memory-safe") {
            mstore(0, shl(96, address()))
            mstore(20, nonce)
            id := keccak256(0, 52)
        }
    }

    /// @notice To whom a request goes, and what for.
    /// @param payment 10^-18 LINK, from this contract's own balance
    /// @param purpose comes back with the answer
    /// @param nonce one that this contract has not used yet
    struct Order {
        LinkTokenInterface link;
        address operator;
        bytes32 specId;
        uint256 payment;
        uint96 purpose;
        uint256 nonce;
    }

    /// @notice Sends a request. It stands in `pending` before the operator hears of it; where the operator, or LINK, does
    /// not take it, nothing of it is left but its event.
    /// @param query as `encode` makes it
    /// @param gasLimit what LINK and the operator may use together
    /// @return taken whether it was sent
    function dispatch(
        mapping(bytes32 requestId => PendingRequest) storage pending,
        Order memory order,
        bytes memory query,
        uint256 gasLimit
    ) internal returns (bool taken) {
        bytes32 id = idOf(order.nonce);
        pending[id] = PendingRequest(order.operator, order.purpose);
        emit ChainlinkRequested(id);
        // the Operator puts the true sender and amount in place of the two zeros
        bytes memory request = abi.encodeCall(
            OperatorInterface.operatorRequest,
            (address(0), 0, order.specId, _FULFILL, order.nonce, _MULTIWORD, query)
        );
        bytes memory data = abi.encodeCall(
            LinkTokenInterface.transferAndCall,
            (order.operator, order.payment, request)
        );
        address link = address(order.link);
        assembly ("memory-safe") {
            mstore(0, 0)
            // one word of what is returned, however long it is
            taken := call(gasLimit, link, 0, add(data, 32), mload(data), 0, 32)
            taken := and(taken, eq(mload(0), 1))
        }
        if (!taken) delete pending[id];
    }

    /// @notice What is asked, as CBOR without the map's delimiters, as Chainlink's nodes expect it; numbers in their
    /// shortest form. The tests hold it against its plain twin.
    /// @param group what nodes keep in order (the market's feeder); any value
    /// @param lot the last lot to cover, below 2^64
    /// @param lots how many lots to cover, below 2^64
    /// @param stage at most 23 bytes
    /// @param meterIds which meters, in which order
    function encode(
        bytes32 group,
        uint256 lot,
        uint256 lots,
        string memory stage,
        bytes32[] memory meterIds
    ) internal pure returns (bytes memory query) {
        assembly ("memory-safe") {
            // writes whole words and steps over what counts of each
            function head(at, major, value) -> next {
                switch lt(value, 24)
                case 1 {
                    mstore8(at, or(major, value))
                    next := add(at, 1)
                }
                default {
                    let more := add(gt(value, 0xff), add(gt(value, 0xffff), gt(value, 0xffffffff)))
                    let size := shl(more, 1)
                    mstore8(at, or(major, add(24, more)))
                    mstore(add(at, 1), shl(sub(256, shl(3, size)), value))
                    next := add(at, add(size, 1))
                }
            }
            query := mload(0x40)
            let at := add(query, 32)
            mstore(at, "\x66feeder\x58\x20")
            mstore(add(at, 9), group)
            mstore(add(at, 41), "\x63lot")
            at := head(add(at, 45), 0, lot)
            mstore(at, "\x64lots")
            at := head(add(at, 5), 0, lots)
            mstore(at, "\x65stage")
            at := head(add(at, 6), 0x60, mload(stage))
            mstore(at, mload(add(stage, 32)))
            at := add(at, mload(stage))
            mstore(at, "\x66meters")
            let size := shl(5, mload(meterIds))
            at := head(add(at, 7), 0x40, size)
            mcopy(at, add(meterIds, 32), size)
            at := add(at, size)
            mstore(query, sub(at, add(query, 32)))
            mstore(0x40, and(add(at, 63), not(31)))
        }
    }
}
