// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {OracleSeat} from "../interfaces/IEnergyMarket.sol";

/// @title A feeder's operators, as they are kept
/// @dev operator 20 | specId 32 | payment 12, each.
library OracleSeats {
    uint256 private constant _BYTES = 64;

    function pack(OracleSeat[] calldata operators) internal pure returns (bytes memory seats) {
        for (uint256 i = 0; i < operators.length; ++i) {
            seats = abi.encodePacked(seats, operators[i].operator, operators[i].specId, operators[i].payment);
        }
    }

    function count(bytes memory seats) internal pure returns (uint256) {
        return seats.length / _BYTES;
    }

    /// @return operator who is asked
    /// @return specId the job there
    /// @return payment 10^-18 LINK
    function at(
        bytes memory seats,
        uint256 index
    ) internal pure returns (address operator, bytes32 specId, uint96 payment) {
        assembly ("memory-safe") {
            let from := add(add(seats, 32), mul(_BYTES, index))
            operator := shr(96, mload(from))
            specId := mload(add(from, 20))
            payment := shr(160, mload(add(from, 52)))
        }
    }
}
