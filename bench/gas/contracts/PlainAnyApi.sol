// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Chainlink} from "@chainlink/contracts/src/v0.8/operatorforwarder/Chainlink.sol";
import {ChainlinkClient} from "@chainlink/contracts/src/v0.8/operatorforwarder/ChainlinkClient.sol";

/// @title What a contract usually does with Chainlink's AnyAPI: asks a job for three numbers and stores them
/// @notice The yardstick beside the market's own gas: no signature is checked, nothing is cleared.
contract PlainAnyApi is ChainlinkClient {
    using Chainlink for Chainlink.Request;

    uint256 public first;
    uint256 public second;
    uint256 public third;

    constructor(address link, address operator) {
        _setChainlinkToken(link);
        _setChainlinkOracle(operator);
    }

    function request(bytes32 specId, uint256 payment) external returns (bytes32) {
        Chainlink.Request memory req = _buildOperatorRequest(specId, this.fulfill.selector);
        req._add("get", "https://example.org/readings");
        req._add("path1", "first");
        req._add("path2", "second");
        req._add("path3", "third");
        return _sendOperatorRequest(req, payment);
    }

    function fulfill(
        bytes32 requestId,
        uint256 first_,
        uint256 second_,
        uint256 third_
    ) external recordChainlinkFulfillment(requestId) {
        first = first_;
        second = second_;
        third = third_;
    }
}
