// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IEnergyMarket} from "./interfaces/IEnergyMarket.sol";
import {IEnergyToken} from "./interfaces/IEnergyToken.sol";
import {IMarketErrors} from "./interfaces/IMarketErrors.sol";
import {CodeStore} from "./libraries/CodeStore.sol";
import {Deliveries} from "./libraries/Deliveries.sol";
import {LotReadingClient} from "./LotReadingClient.sol";
import {Clearing, Feeder, MarketState} from "./MarketState.sol";

/// @title What the market's parts share: its state and how to find things in it
abstract contract MarketBase is IEnergyMarket, IMarketErrors, LotReadingClient {
    /// @notice The energy token, of which this contract is the minter.
    IEnergyToken public immutable token;

    MarketState internal _s;

    constructor(IEnergyToken token_) {
        token = token_;
    }

    /// @notice The token account of a meter: nobody holds a key to it, so it can register no ERC777 hook.
    function accountOfMeter(bytes32 meterId) public pure returns (address) {
        return Deliveries.accountOfMeter(meterId);
    }

    function _feeder(bytes32 feeder) internal view returns (Feeder storage f) {
        f = _s.feeders[feeder];
        if (f.number == 0) revert UnknownFeeder(feeder);
    }

    function _clearing(uint256 number, uint256 lot) internal view returns (Clearing storage) {
        return _s.clearings[(number << 40) | lot];
    }

    function _charter(uint256 number, uint256 index) internal view returns (bytes memory) {
        return CodeStore.read(_s.charters[(number << 16) | index].code);
    }

    /// @dev The unix second at which a lot is over.
    function _lotEnd(uint256 lot) internal view returns (uint256) {
        return (lot + 1) * _lotSeconds;
    }

    function _currentLot() internal view returns (uint256) {
        return block.timestamp / _lotSeconds;
    }
}
