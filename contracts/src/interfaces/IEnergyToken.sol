// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title The token's surface that the market uses
/// @notice ERC777 "Bijuli Energy", symbol kWh, granularity 10^11: its smallest part is exactly one Unit.
interface IEnergyToken {
    /// @notice Mints `amount` (in 10^-18 kWh, a multiple of 10^11) to a meter's account; the market only.
    function mint(address account, uint256 amount) external;
    function operatorSend(
        address sender,
        address recipient,
        uint256 amount,
        bytes calldata data,
        bytes calldata operatorData
    ) external;
    function operatorBurn(address account, uint256 amount, bytes calldata data, bytes calldata operatorData) external;
    function market() external view returns (address);
    function totalSupply() external view returns (uint256);
    function balanceOf(address account) external view returns (uint256);
}
