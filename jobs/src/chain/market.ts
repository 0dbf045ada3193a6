import { EnergyMarketAbi } from "@bijuli/contracts/abi";
import { Interface } from "ethers/abi";
import type { StageReference } from "../state/run.ts";
import type { RpcLog } from "./types.ts";

/** The market's ABI, as its contracts were compiled. */
export const marketAbi = new Interface(EnergyMarketAbi as unknown as string[]);

export const marketTopic = {
  feederCreated: marketAbi.getEvent("FeederCreated")!.topicHash,
  lotsOpened: marketAbi.getEvent("LotsOpened")!.topicHash,
  stageRequested: marketAbi.getEvent("StageRequested")!.topicHash,
  deferred: marketAbi.getEvent("Deferred")!.topicHash,
  readingRefused: marketAbi.getEvent("ReadingRefused")!.topicHash,
} as const;

export const STAGES = ["plant", "distributor", "consumers"] as const;

/** Why a delivery did not finish its stage: IEnergyMarket's Deferral. */
export const Deferral = { OutOfTurn: 1, OutOfGas: 2, ReadingMissing: 3 } as const;

const DEFERRALS = [
  "",
  "an earlier stage or clearing is not done",
  "the gas did not suffice",
  "a reading was missing or refused",
];
const REFUSALS = [
  "",
  "missing",
  "malformed",
  "does not reach back to the meter's cursor",
  "its register differs from the one that was cleared",
  "not signed by the meter's signer",
  "the meter is suspended or unknown",
  "cleared already",
  "its energies exceed its register",
];

/** What a StageRequested log asks for. */
export function stageRequested(log: RpcLog): { requestId: string; stage: StageReference } {
  const [requestId, feeder, lot, stage, first] = marketAbi.decodeEventLog("StageRequested", log.data, log.topics);
  return {
    requestId,
    stage: {
      market: log.address.toLowerCase(),
      feeder,
      lot: String(lot),
      stage: Number(stage),
      first: Number(first),
      submit: false,
    },
  };
}

/** What a transaction's logs say of one stage: whether it was deferred and why, and which readings were refused. */
export function readDelivery(
  logs: readonly RpcLog[],
  stage: StageReference,
): { deferral: number | undefined; explanation: string | undefined } {
  const own = logs.filter((log) => log.address.toLowerCase() === stage.market);
  const same = (feeder: unknown, lot: unknown, kind: unknown) =>
    feeder === stage.feeder && String(lot) === stage.lot && Number(kind) === stage.stage;
  const refused: string[] = [];
  let deferral: number | undefined;
  for (const log of own) {
    if (log.topics[0] === marketTopic.readingRefused) {
      const [feeder, meterId, lot, kind, reason] = marketAbi.decodeEventLog("ReadingRefused", log.data, log.topics);
      if (same(feeder, lot, kind)) refused.push(`meter ${meterId}: ${REFUSALS[Number(reason)] ?? `reason ${reason}`}`);
    } else if (log.topics[0] === marketTopic.deferred) {
      const [, feeder, lot, kind, first, reason] = marketAbi.decodeEventLog("Deferred", log.data, log.topics);
      if (same(feeder, lot, kind) && Number(first) === stage.first) deferral = Number(reason);
    }
  }
  const parts = [
    deferral === undefined ? undefined : `deferred: ${DEFERRALS[deferral] ?? `reason ${deferral}`}`,
    ...refused,
  ];
  return { deferral, explanation: parts.filter(Boolean).join("; ") || undefined };
}

/** `submit`, which delivers the same records without the Operator. */
export function submitCall(stage: StageReference, records: string): { to: string; data: string } {
  return {
    to: stage.market,
    data: marketAbi.encodeFunctionData("submit", [stage.feeder, stage.lot, stage.stage, stage.first, records]),
  };
}

/** `requestStage`, which asks the feeder's next operator. */
export function repeatCall(stage: StageReference): { to: string; data: string } {
  return {
    to: stage.market,
    data: marketAbi.encodeFunctionData("requestStage", [stage.feeder, stage.lot, stage.stage, stage.first]),
  };
}
