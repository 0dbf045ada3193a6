// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title What a registry asks the market
interface IMeterUser {
    /// @notice The first lot that the meter's feeder has not opened; 0 when the meter is in no feeder.
    function nextLotOf(bytes32 meterId) external view returns (uint64 lot);
}
