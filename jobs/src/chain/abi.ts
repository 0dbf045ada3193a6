import { Interface } from "ethers/abi";

/** What this node reads and calls of Chainlink's Operator and of the contracts that requested (ChainlinkClient). */
export const operatorAbi = new Interface([
  "event OracleRequest(bytes32 indexed specId, address requester, bytes32 requestId, uint256 payment, address callbackAddr, bytes4 callbackFunctionId, uint256 cancelExpiration, uint256 dataVersion, bytes data)",
  "event CancelOracleRequest(bytes32 indexed requestId)",
  "event OracleResponse(bytes32 indexed requestId)",
  "event ChainlinkFulfilled(bytes32 indexed id)",
  "function fulfillOracleRequest(bytes32 requestId, uint256 payment, address callbackAddress, bytes4 callbackFunctionId, uint256 expiration, bytes32 data) returns (bool)",
  "function fulfillOracleRequest2(bytes32 requestId, uint256 payment, address callbackAddress, bytes4 callbackFunctionId, uint256 expiration, bytes data) returns (bool)",
  "function isAuthorizedSender(address sender) view returns (bool)",
  "function getAuthorizedSenders() view returns (address[])",
]);

/** Chainlink's AuthorizedForwarder. */
export const forwarderAbi = new Interface(["function forward(address to, bytes data)"]);

export const topicOf = {
  oracleRequest: operatorAbi.getEvent("OracleRequest")!.topicHash,
  cancelOracleRequest: operatorAbi.getEvent("CancelOracleRequest")!.topicHash,
  oracleResponse: operatorAbi.getEvent("OracleResponse")!.topicHash,
  chainlinkFulfilled: operatorAbi.getEvent("ChainlinkFulfilled")!.topicHash,
} as const;
