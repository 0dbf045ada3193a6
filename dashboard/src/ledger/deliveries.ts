import { EnergyMarketAbi, OperatorAbi } from "@bijuli/contracts/abi";
import { type DecodedRecord, decodeRecords, type Hex, recordLength } from "@bijuli/protocol";
import { AbiCoder, Interface, type TransactionDescription } from "ethers";

/** A page of records on its way into a stage: the market's, found in a transaction's input. */
export interface Delivery {
  /** Known when an oracle delivered: the request says which stage and page it is. */
  requestId?: Hex;
  /** Known when somebody submitted without an oracle. */
  page?: { feeder: Hex; lot: bigint; stage: number; first: number };
  /** A record a member; null for a missing or malformed one. */
  records: (DecodedRecord | null)[];
}

const operator = new Interface(OperatorAbi);
const market = new Interface(EnergyMarketAbi);
/** Chainlink's AuthorizedForwarder, through which a node with several keys sends. */
const forwarder = new Interface([
  "function forward(address to, bytes data)",
  "function ownerForward(address to, bytes data)",
  "function multiForward(address[] tos, bytes[] datas)",
]);
const coder = AbiCoder.defaultAbiCoder();

/** The deliveries in a transaction's input, in their order: direct, through the Operator, and through a forwarder. */
export function deliveriesIn(input: Hex): Delivery[] {
  const forwarded = parse(forwarder, input);
  if (forwarded?.name === "multiForward") return [...forwarded.args[1]].flatMap((data: Hex) => deliveriesIn(data));
  if (forwarded) return deliveriesIn(forwarded.args[1]);

  const fulfilled = parse(operator, input);
  if (fulfilled?.name === "fulfillOracleRequest2") {
    // fulfillOracleRequest2(requestId, payment, callbackAddress, callbackFunctionId, expiration, data)
    const [requestId, records] = coder.decode(["bytes32", "bytes"], fulfilled.args[5]);
    return [{ requestId, records: recordsIn(records) }];
  }

  const submitted = parse(market, input);
  if (submitted?.name === "submit") {
    const [feeder, lot, stage, first, records] = submitted.args;
    return [{ page: { feeder, lot, stage: Number(stage), first: Number(first) }, records: recordsIn(records) }];
  }
  return [];
}

function parse(abi: Interface, input: Hex): TransactionDescription | null {
  try {
    return abi.parseTransaction({ data: input });
  } catch {
    return null;
  }
}

/** Record by record, as the contract reads them: a malformed one is nobody's, and bytes cut short end the page. */
function recordsIn(bytes: Hex): (DecodedRecord | null)[] {
  const records: (DecodedRecord | null)[] = [];
  for (let at = 2; at + 4 <= bytes.length; ) {
    const lots = Number.parseInt(bytes.slice(at, at + 4), 16);
    const end = at + (lots === 0 ? 4 : 2 * recordLength(lots));
    if (end > bytes.length) break;
    try {
      records.push(...decodeRecords(`0x${bytes.slice(at, end)}`));
    } catch {
      records.push(null);
    }
    at = end;
  }
  return records;
}
