// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title The token's surface that the market uses
/// @notice ERC777 "Bijuli Energy", symbol kWh, granularity 10^11: its smallest part is exactly one Unit.
interface IEnergyToken {
    /// @notice Mints `amount` (10^-18 kWh, a multiple of 10^11) to a plant's meter and sends it to the distributor's.
    function mintAndSend(address plant, address distributor, uint256 amount) external;

    /// @notice Sends `amount` from the distributor's meter to a consumer's and burns it there.
    function sendAndBurn(address distributor, address consumer, uint256 amount) external;

    /// @notice Burns `amount` of a meter's.
    function burnFrom(address account, uint256 amount) external;

    function market() external view returns (address);
    function totalSupply() external view returns (uint256);
    function balanceOf(address account) external view returns (uint256);
}
