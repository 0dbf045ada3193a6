import { EnergyMarketAbi } from "@bijuli/contracts/abi";
import type { Hex } from "@bijuli/protocol";
import { EventFragment, Interface, type LogDescription, type Result } from "ethers";
import type { BillEvent, BillRequest, BillTransaction } from "./bill.ts";
import type { ProvenChain } from "./proven-chain.ts";
import { DoesNotHold } from "./witness.ts";

const market = new Interface(EnergyMarketAbi);
/** The names of each event's fields. */
const FIELDS = new Map(
  market.fragments.flatMap((fragment) =>
    fragment instanceof EventFragment ? [[fragment.name, fragment.inputs.map(({ name }) => name)] as const] : [],
  ),
);

/** An event of the market in a transaction that the chain proves. */
export interface ProvenEvent {
  transaction: BillTransaction;
  /** The transaction's input, where the records stand that a stage was cleared by. */
  input: Hex;
  name: string;
  args: LogDescription["args"];
}

/** What tells whether an event belongs to a bill. */
export interface Concern {
  feeder: Hex;
  /** The clearings, by their last lots. */
  clearings: ReadonlySet<bigint>;
  /** Plants and distributors of these clearings. */
  suppliers: ReadonlySet<Hex>;
  consumers: ReadonlySet<Hex>;
  /** Plants whose payments count. */
  paid: ReadonlySet<Hex>;
  account: number;
  debtors: ReadonlySet<number>;
  /** Money that moved up to this block is in the opening balance. */
  before: number;
}

/** The events of the bill's transactions that concern it, in the chain's order. */
export async function provenEvents(
  chain: ProvenChain,
  address: Hex,
  transactions: BillRequest["transactions"],
  concern: Concern,
): Promise<ProvenEvent[]> {
  const events: ProvenEvent[] = [];
  let last = { block: -1, index: -1 };
  for (const { block, index } of transactions) {
    const place = `transaction ${index} of block ${block}`;
    if (block < last.block || (block === last.block && index <= last.index)) {
      throw new DoesNotHold(`${place} is out of order, or stands twice`);
    }
    last = { block, index };
    const { hash, to, input } = await chain.transaction(block, index);
    const transaction = { hash, block, index, timestamp: chain.header(block).timestamp, to: to ?? null };
    const before = events.length;
    for (const log of await chain.logs(block, index)) {
      if (log.address !== address) continue;
      const event = market.parseLog(log);
      if (event && concerns(concern, event, block)) {
        events.push({ transaction, input, name: event.name, args: event.args });
      }
    }
    if (events.length === before) throw new DoesNotHold(`${place} has nothing to do with this bill`);
  }
  return events;
}

/** Whether an event belongs to a bill: the same for whoever makes the bill and for whoever checks it. */
export function concerns(
  concern: Concern,
  { name, args }: Pick<LogDescription, "name" | "args">,
  block: number,
): boolean {
  const ofClearing = () => args.feeder === concern.feeder && concern.clearings.has(args.lot);
  const moved = block > concern.before;
  const debt = () => moved && (Number(args.debtor) === concern.account || concern.debtors.has(Number(args.debtor)));
  switch (name) {
    case "LotsOpened":
    case "ClearingClosed":
      return ofClearing();
    case "PlantCleared":
    case "DistributorCleared":
    case "Estimated":
    case "Corrected":
      return ofClearing() && concern.suppliers.has(args.meterId);
    case "CapacityExceeded":
      return ofClearing() && (concern.suppliers.has(args.meterId) || concern.consumers.has(args.meterId));
    case "PlantPaid":
      return moved && ofClearing() && concern.paid.has(args.meterId);
    case "ConsumerCleared":
      return moved && ofClearing() && concern.consumers.has(args.meterId);
    case "Deposited":
    case "Withdrawn":
      return moved && Number(args.account) === concern.account;
    case "ArrearsGrown":
    case "ArrearsPaid":
    case "ClaimCollected":
      return debt();
    default:
      return false;
  }
}

/** An event as a bill shows it. */
export function shown({ transaction, name, args }: ProvenEvent): BillEvent {
  return {
    transaction: transaction.hash,
    name,
    args: Object.fromEntries(FIELDS.get(name)!.map((field, i) => [field, plain(args[i])])),
  };
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return (value as Result).map(plain);
  return value;
}
