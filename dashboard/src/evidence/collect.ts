import { deliveriesIn } from "@bijuli/dashboard/ledger";
import {
  BijuliError,
  type Hex,
  type ReadingDomain,
  readingFromRecord,
  recoverReadingSigner,
  type SignedReading,
} from "@bijuli/protocol";
import type { Bill, BillRequest } from "./bill.ts";
import { type BillFile, billFileOf } from "./bill-file.ts";
import { deriveBill, type Trust } from "./derive.ts";
import type { Concern } from "./evidence-events.ts";
import { type FoundEvent, LogSearch, metersOf, registryView } from "./log-search.ts";
import { ROLES, type Role } from "./market-state.ts";
import { HISTORY, ProvenChain } from "./proven-chain.ts";
import { type Rpc, RpcSupplier } from "./rpc-supplier.ts";
import { scopeOf } from "./scope.ts";
import { Witness } from "./witness.ts";

/** What a bill is asked for. */
export interface BillQuery {
  registry: Hex;
  account: number;
  /** The first and the last lot. */
  from: bigint;
  to: bigint;
  /** The deployment's block, before which nothing is looked for; 0 unless told. */
  since?: number;
}

interface Member {
  account: bigint;
  feeder: Hex;
  /** Its meter, and those that took its place. */
  meters: Hex[];
  role: Role;
}

/** Headers are shorter than proofs: up to so many blocks the parents lead back. */
const PARENTS = 16;

/**
 * Makes a bill with all its evidence, over a node's JSON-RPC. The node is believed in nothing: what it says is proved, or
 * the bill does not come to be.
 * @throws BijuliError no-such-account, not-cleared, no-proof; DoesNotHold where the node does not speak the truth
 */
export async function collectBill(rpc: Rpc, query: BillQuery): Promise<{ file: BillFile; bill: Bill }> {
  const registry = query.registry.toLowerCase() as Hex;
  const [market] = await registryView(rpc, registry, "market", []);
  const search = new LogSearch(rpc, market, query.since ?? 0);
  const head = Number(await rpc("eth_blockNumber", []));
  const chainId = BigInt(await rpc("eth_chainId", []));
  const member = await memberOf(search, query.account, head);
  const window = await windowOf(search, member, query, head);
  const [before, end] = window;

  const witness = new Witness();
  const supplier = new RpcSupplier(rpc, witness);
  const trust: Trust = { registry, blockHash: await supplier.block(`0x${end.toString(16)}`) };
  const debtors = await debtorsOf(search, member, window);
  const asked = { account: query.account, from: query.from, to: query.to, before, debtors };
  // the state tells which clearings and whose events are wanted; then it is known where all stands
  const states = await ProvenChain.from(witness, trust.blockHash, await pathFrom(rpc, end, [before]), supplier);
  const { concern } = await scopeOf(states, { registry, chainId }, asked);
  const events = await eventsOf(search, member, concern, window);
  const transactions = inOrder(events);
  const request: BillRequest = {
    ...asked,
    path: await pathFrom(rpc, end, [before, ...transactions.map(({ block }) => block)]),
    transactions,
    readings: await readingsOf(rpc, events, { chainId, registry }),
  };
  witness.forgetUse();
  const chain = await ProvenChain.from(witness, trust.blockHash, request.path, supplier);
  const bill = await deriveBill(chain, { registry, chainId }, request);
  return { file: billFileOf(bill, trust, request, witness.used()), bill };
}

async function memberOf(search: LogSearch, account: number, head: number): Promise<Member> {
  const [joined] = await search.find(["Joined"], [BigInt(account)], [0, head]);
  if (!joined) throw new BijuliError("no-such-account", `the market has no account ${account}`);
  const { feeder, role } = joined.args;
  return {
    account: BigInt(account),
    feeder,
    meters: await metersOf(search, account, head),
    role: ROLES[Number(role)]!,
  };
}

/**
 * The blocks at which the account is opened and closed: just before the first, and with the last of the transactions
 * that charge it for these lots.
 */
async function windowOf(
  search: LogSearch,
  { feeder, meters, role }: Member,
  { account, from, to }: BillQuery,
  head: number,
): Promise<[number, number]> {
  const charges =
    role === "consumer"
      ? await search.find(["ConsumerCleared"], [feeder, meters], [0, head])
      : await search.find(["DistributorCleared"], [feeder], [0, head]);
  const first = charges.find(({ args }) => args.lot >= from);
  const last = charges.find(({ args }) => args.lot >= to);
  if (!first || !last) {
    const reach = charges.at(-1)?.args.lot;
    throw new BijuliError(
      "not-cleared",
      `account ${account} is cleared ${reach === undefined ? "for no lot yet" : `up to lot ${reach}`}, not up to lot ${to}`,
      { remedy: "ask for earlier lots, or again when they are cleared" },
    );
  }
  if (role !== "distributor") return [first.block - 1, last.block];
  // a distributor's lots are done when its consumers are, or when the clearing is closed without some
  const closes = await search.find(["ClearingClosed"], [feeder, [first.args.lot, last.args.lot]], [first.block, head]);
  const consumed = await search.find(["ConsumerCleared"], [feeder, undefined, last.args.lot], [first.block, head]);
  const done = closes.find(({ args }) => args.lot === last.args.lot) ?? consumed.at(-1) ?? last;
  return [first.block - 1, Math.max(last.block, done.block)];
}

/** Who owes this account, or has paid it what it owed, between two blocks. */
async function debtorsOf(
  search: LogSearch,
  member: Member,
  [before, end]: readonly [number, number],
): Promise<number[]> {
  if (member.role === "consumer") return [];
  const mine = await search.find(["ArrearsGrown", "ClaimCollected"], [undefined, member.account], [0, end]);
  const owing = [...new Set(mine.map(({ args }) => Number(args.debtor)))].sort((a, b) => a - b);
  if (owing.length === 0) return [];
  const names = ["ArrearsGrown", "ArrearsPaid", "ClaimCollected"];
  const moved = await search.find(names, [owing.map(BigInt)], [before + 1, end]);
  const moving = new Set(moved.map(({ args }) => Number(args.debtor)));
  return owing.filter((debtor) => moving.has(debtor) && debtor !== Number(member.account));
}

async function eventsOf(
  search: LogSearch,
  { account, feeder, meters, role }: Member,
  { clearings, debtors }: Concern,
  [before, end]: readonly [number, number],
): Promise<FoundEvent[]> {
  const lots = [...clearings];
  const up: [number, number] = [0, end];
  const within: [number, number] = [before + 1, end];
  const all = await Promise.all([
    search.find(["LotsOpened", "ClearingClosed"], [feeder, lots], up),
    search.find(["PlantCleared", "DistributorCleared", "Estimated", "Corrected"], [feeder, undefined, lots], up),
    role === "consumer"
      ? search.find(["ConsumerCleared"], [feeder, meters, lots], within)
      : search.find(["PlantPaid"], [feeder, role === "plant" ? meters : undefined, lots], within),
    role === "distributor" ? search.find(["ConsumerCleared"], [feeder, undefined, lots], within) : [],
    search.find(["Deposited", "Withdrawn"], [account], within),
    search.find(["ArrearsGrown", "ArrearsPaid", "ClaimCollected"], [[account, ...[...debtors].map(BigInt)]], within),
  ]);
  return all.flat();
}

/** The transactions of events, in the chain's order, each once. */
function inOrder(events: readonly FoundEvent[]): { block: number; index: number }[] {
  const places = new Map(events.map(({ block, index, transaction }) => [transaction, { block, index }]));
  return [...places.values()].sort((a, b) => a.block - b.block || a.index - b.index);
}

/**
 * The way back from the last block to all that are needed: over parents where they are near, over EIP-2935's history
 * where the chain keeps one.
 */
async function pathFrom(rpc: Rpc, end: number, needed: readonly number[]): Promise<number[]> {
  const account = await rpc("eth_getProof", [HISTORY.address, [], `0x${end.toString(16)}`]).catch(() => undefined);
  const keeps = account?.codeHash === HISTORY.codeHash;
  const path: number[] = [];
  let at = end;
  for (const next of [...new Set(needed)].sort((a, b) => b - a)) {
    while (at > next) {
      const jump = keeps && at - next > PARENTS;
      at = jump ? Math.max(next, at - HISTORY.blocks) : at - 1;
      path.push(at);
    }
  }
  return path;
}

/** The signed readings that the events speak of, out of the input of the transactions that they came with. */
async function readingsOf(rpc: Rpc, events: readonly FoundEvent[], domain: ReadingDomain): Promise<SignedReading[]> {
  const lotSeconds = Number(await registryView(rpc, domain.registry, "lotSeconds", []));
  const inputs = new Map<Hex, Hex>();
  const seats = new Map<Hex, number>();
  const readings: SignedReading[] = [];
  const estimated = new Set(
    events.flatMap(({ name, args }) => (name === "Estimated" ? [`${args.meterId} ${args.lot}`] : [])),
  );
  for (const { name, args, transaction } of [...events].sort((a, b) => a.block - b.block || a.logIndex - b.logIndex)) {
    if (!["PlantCleared", "DistributorCleared", "ConsumerCleared"].includes(name)) continue;
    const { meterId, lot } = args;
    if (estimated.has(`${meterId} ${lot}`)) continue;
    if (!inputs.has(transaction)) {
      inputs.set(transaction, (await rpc("eth_getTransactionByHash", [transaction])).input);
    }
    const signer: Hex = (await registryView(rpc, domain.registry, "signerAt", [meterId, lot]))[0].toLowerCase();
    const found = readingIn(inputs.get(transaction)!, { meterId, lot, lotSeconds }, domain, signer, seats);
    if (!found) {
      throw new BijuliError(
        "no-reading",
        `transaction ${transaction} cleared meter ${meterId} for lot ${lot}, and carries no reading that ${signer} signed`,
        {
          remedy:
            "readings that came through a contract of somebody's own, or with a contract's signature, cannot be found",
        },
      );
    }
    readings.push(found);
  }
  return readings;
}

/**
 * A meter's reading in a transaction's input, known by its signature.
 * @param seats where a meter's record stood last: pages keep their order, so it is tried first
 */
function readingIn(
  input: Hex,
  known: { meterId: Hex; lot: bigint; lotSeconds: number },
  domain: ReadingDomain,
  signer: Hex,
  seats: Map<Hex, number>,
): SignedReading | undefined {
  const { meterId } = known;
  for (const { records } of deliveriesIn(input)) {
    const seat = seats.get(meterId) ?? 0;
    const order = new Set([seat, ...records.keys()]);
    for (const i of order) {
      const record = records[i];
      if (!record) continue;
      try {
        const signed = readingFromRecord(record, known);
        if (recoverReadingSigner(domain, signed.reading, signed.signature).toLowerCase() !== signer) continue;
        seats.set(meterId, i);
        return signed;
      } catch {
        // a record that is no reading of this meter
      }
    }
  }
  return undefined;
}
