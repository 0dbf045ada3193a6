// SPDX-License-Identifier: MIT
pragma solidity ^0.8.19;

import {ERC777} from "@openzeppelin/contracts-4.9.6/token/ERC777/ERC777.sol";

/// @title Bijuli Energy: one kWh a token, while the clearings that it belongs to are open
/// @notice Only the market mints, and only to accounts derived from a meterId, for which nobody holds a key: they can
/// register no ERC777 hook, so no participant's code runs in a mint, a move or a burn. Everything else is
/// OpenZeppelin's ERC777 as it stands.
contract EnergyToken is ERC777 {
    /// @notice The smallest part, in 10^-18 kWh: exactly one Unit of 0.1 µkWh.
    uint256 private constant _GRANULARITY = 10 ** 11;

    /// @notice The market: minter and default operator.
    address public immutable market;

    /// @notice Only the market may.
    error NotMarket(address caller);
    /// @notice Amounts are multiples of 10^11.
    error NotAWholeUnit(uint256 amount);
    /// @notice A token needs a market.
    error ZeroMarket();

    /// @param market_ the market's address, known before it is deployed; the market refuses a token that names another
    constructor(address market_) ERC777("Bijuli Energy", "kWh", _only(market_)) {
        if (market_ == address(0)) revert ZeroMarket();
        market = market_;
    }

    modifier onlyMarket() {
        if (msg.sender != market) revert NotMarket(msg.sender);
        _;
    }

    // The market is every account's operator, so ERC777's own functions would do. These make several of its moves in
    // one call, each with its events, and ask only once who calls.

    /// @notice Mints `amount` (10^-18 kWh) to a plant's meter and sends it to the distributor's.
    function mintAndSend(address plant, address distributor, uint256 amount) external onlyMarket {
        // Nobody can place code at such an account, so nobody is asked whether it takes tokens (ERC777's last argument):
        // 2,600 gas a move. Hooks are looked for as ever.
        _mint(plant, amount, "", "", false);
        _send(plant, distributor, amount, "", "", false);
    }

    /// @notice Sends `amount` (10^-18 kWh) from the distributor's meter to a consumer's and burns it there.
    function sendAndBurn(address distributor, address consumer, uint256 amount) external onlyMarket {
        _send(distributor, consumer, amount, "", "", false);
        _burn(consumer, amount, "", "");
    }

    /// @notice Burns `amount` (10^-18 kWh) of a meter's.
    function burnFrom(address account, uint256 amount) external onlyMarket {
        _burn(account, amount, "", "");
    }

    /// @inheritdoc ERC777
    function granularity() public pure override returns (uint256) {
        return _GRANULARITY;
    }

    /// @dev ERC777 asks that every amount minted, moved or burned be a multiple of the granularity.
    function _beforeTokenTransfer(address, address, address, uint256 amount) internal pure override {
        if (amount % _GRANULARITY != 0) revert NotAWholeUnit(amount);
    }

    function _only(address operator) private pure returns (address[] memory operators) {
        operators = new address[](1);
        operators[0] = operator;
    }
}
