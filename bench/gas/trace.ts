import type { World } from "../../contracts/test/support/feeder.ts";
import type { Sent } from "./scenario.ts";
import { calldata, INTRINSIC } from "./schedule.ts";

/** What a transaction's gas went to. The parts add up to gasUsed, to the last unit. */
export const PARTS = [
  "intrinsic",
  "calldata",
  "operator",
  "signature",
  "slots",
  "tokens",
  "events",
  "code",
  "calls",
  "rest",
  "refund",
  "calldataFloor",
] as const;
export type Part = (typeof PARTS)[number];
export type Breakdown = Record<Part, number>;

interface Step {
  op: string;
  gas: number;
  gasCost: number;
  depth: number;
  stack: string[];
}

const CALLS = new Set(["CALL", "STATICCALL", "DELEGATECALL", "CALLCODE"]);
const CREATES = new Set(["CREATE", "CREATE2"]);
const ECRECOVER = 1n;

/** Runs a mined transaction again, instruction by instruction, and tells what each was for. */
export async function breakDown(world: World, sent: Sent): Promise<Breakdown> {
  const trace: { structLogs: Step[] } = await world.chain.ethers.provider.send("debug_traceTransaction", [
    sent.hash,
    { disableMemory: true, disableStorage: true, enableReturnData: false },
  ]);
  const { operator, link, token, erc1820 } = world.book;
  const whole: [string, Part][] = [
    [operator, "operator"],
    [link, "operator"],
    [token, "tokens"],
    [erc1820, "tokens"],
  ];
  const owners = new Map(whole.map(([address, part]) => [BigInt(address), part]));
  const parts = Object.fromEntries(PARTS.map((part) => [part, 0])) as Breakdown;
  const { gas: calldataGas, atLeast } = calldata(sent.data);
  parts.intrinsic = INTRINSIC;
  parts.calldata = calldataGas;

  const steps = trace.structLogs;
  let at = 0;
  /** Adds up the frame that begins at `at`; `owner` takes all that its own instructions cost. */
  const frame = (owner: Part | undefined): number => {
    const depth = steps[at]!.depth;
    let spent = 0;
    while (at < steps.length && steps[at]!.depth === depth) {
      const step = steps[at++]!;
      if (!CALLS.has(step.op) && !CREATES.has(step.op)) {
        parts[owner ?? partOf(step.op)] += step.gasCost;
        spent += step.gasCost;
        continue;
      }
      const target = CALLS.has(step.op) ? BigInt(step.stack.at(-2)!) : undefined;
      const callee = target === undefined ? undefined : owners.get(target);
      // what the market does in answer to the Operator's call is the market's own, whoever called
      const inside = step.op === "DELEGATECALL" ? owner : callee;
      const inner = at < steps.length && steps[at]!.depth > depth ? frame(inside) : 0;
      const cost = step.gas - steps[at]!.gas;
      spent += cost;
      const base = cost - inner;
      if (target === ECRECOVER) parts.signature += base;
      else if (CREATES.has(step.op)) parts.code += base;
      else parts[callee ?? owner ?? "calls"] += base;
    }
    return spent;
  };
  const executed = steps.length === 0 ? 0 : frame(owners.get(BigInt(sent.receipt.to!)));
  // What is left is what was refunded; where the calldata's floor decides, what that adds to the rest of it.
  const left = sent.gas - INTRINSIC - calldataGas - executed;
  parts[sent.gas === atLeast ? "calldataFloor" : "refund"] = left;
  return parts;
}

function partOf(op: string): Part {
  if (op === "SLOAD" || op === "SSTORE" || op === "TLOAD" || op === "TSTORE") return "slots";
  if (op.startsWith("LOG")) return "events";
  if (op === "KECCAK256") return "signature";
  if (op.startsWith("EXTCODE")) return "code";
  return "rest";
}
