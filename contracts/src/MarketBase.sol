// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IEnergyMarket, Role, Stage} from "./interfaces/IEnergyMarket.sol";
import {IEnergyToken} from "./interfaces/IEnergyToken.sol";
import {IMarketErrors} from "./interfaces/IMarketErrors.sol";
import {Deliveries} from "./libraries/Deliveries.sol";
import {LotReadingClient} from "./LotReadingClient.sol";
import {Feeder, MarketState} from "./MarketState.sol";

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

    /// @dev Enums come in as bytes, so that one out of range is refused by name.
    function _stageOf(uint8 stage) internal pure returns (Stage) {
        if (stage > uint8(type(Stage).max)) revert UnknownStage(stage);
        return Stage(stage);
    }

    function _roleOf(uint8 role) internal pure returns (Role) {
        if (role > uint8(type(Role).max)) revert UnknownRole(role);
        return Role(role);
    }

    function _feeder(bytes32 feeder) internal view returns (Feeder storage f) {
        f = _s.feeders[feeder];
        if (f.number == 0) revert UnknownFeeder(feeder);
    }
}
