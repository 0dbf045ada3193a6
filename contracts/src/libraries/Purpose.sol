// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Stage} from "../interfaces/IEnergyMarket.sol";

/// @title What a request of the market is for, in the 96 bits that are kept with it
/// @dev bits 0–15 the page's first member | 16–23 stage | 24–63 the clearing's last lot | 64–87 feeder's number
library Purpose {
    function pack(uint256 number, uint256 lot, Stage stage, uint256 first) internal pure returns (uint96) {
        return uint96((number << 64) | (lot << 24) | (uint256(stage) << 16) | first);
    }

    function unpack(uint96 purpose) internal pure returns (uint256 number, uint256 lot, Stage stage, uint256 first) {
        number = purpose >> 64;
        lot = uint40(purpose >> 24);
        stage = Stage(uint8(purpose >> 16));
        first = uint16(purpose);
    }
}
