import {
  type ClearedLot,
  clearLot,
  energyOf,
  type Hex,
  lotBefore,
  type ReadingDomain,
  readingDigest,
  readingDomain,
  readingFromJson,
  recoverReadingSigner,
  registerAt,
  type SignedReading,
  UNITS_PER_KWH,
} from "@bijuli/protocol";
import type { LotDetailJson, LotPartJson, SignedReadingJson, StatusJson } from "../server/shapes.ts";

/** One thing that was checked, in words. */
export interface Finding {
  holds: boolean;
  what: string;
  /** What was computed here, for whoever wants to see it. */
  detail?: string;
}

export interface PartCheck {
  digest: Hex | undefined;
  signer: string | undefined;
  findings: Finding[];
}

export interface LotCheck {
  parts: PartCheck[];
  cleared: ClearedLot | undefined;
  findings: Finding[];
  holds: boolean;
}

/**
 * Checks a lot from its signatures up, in this browser: nothing that the server computed is believed, only what it says
 * is on chain (signers, terms, events), which anyone can look up there.
 */
export function checkLot(detail: LotDetailJson, status: StatusJson): LotCheck {
  const domain = readingDomain({ chainId: status.chainId, registry: status.registry });
  const lot = BigInt(detail.lot.lot);
  const parts = detail.parts.map((part): PartCheck => {
    try {
      return checkPart(part, lot, domain, status.lotSeconds);
    } catch (error) {
      return { digest: undefined, signer: undefined, findings: [unreadable("the reading", error)] };
    }
  });
  const { cleared, findings } = priceOf(detail);
  for (const part of detail.parts) findings.push(...checkMoney(part, cleared));
  const holds = [...findings, ...parts.flatMap((part) => part.findings)].every((finding) => finding.holds);
  return { parts, cleared, findings, holds };
}

/** What no honest server says is a finding as well, not an empty page. */
const unreadable = (what: string, error: unknown): Finding => ({
  holds: false,
  what: `${what} cannot be read: ${(error as Error).message}`,
});

function priceOf(detail: LotDetailJson): ReturnType<typeof checkPrice> {
  try {
    return checkPrice(detail);
  } catch (error) {
    return { cleared: undefined, findings: [unreadable("the lot's energies", error)] };
  }
}

function open(signed: SignedReadingJson): SignedReading {
  return { reading: readingFromJson(signed.reading), signature: signed.signature };
}

function signerAt(part: LotPartJson, lot: bigint): Hex | undefined {
  return part.signers.findLast(({ fromLot }) => BigInt(fromLot) <= lot)?.signer;
}

function checkPart(part: LotPartJson, lot: bigint, domain: ReadingDomain, lotSeconds: number): PartCheck {
  const findings: Finding[] = [];
  const find = (holds: boolean, what: string, detail?: string) =>
    findings.push(detail === undefined ? { holds, what } : { holds, what, detail });
  if (part.signed === null) {
    find(true, "no reading: this meter was estimated, gone on without, or has not been read");
    return { digest: undefined, signer: undefined, findings };
  }
  const signed = open(part.signed);
  const digest = readingDigest(domain, signed.reading);
  const signer = recoverReadingSigner(domain, signed.reading, signed.signature);
  const { reading } = signed;
  const expected = signerAt(part, reading.lot);
  find(
    expected !== undefined && expected.toLowerCase() === signer.toLowerCase(),
    "signed by the signer that the registry names for this meter",
    `recovered ${signer}, registered ${expected ?? "none"}`,
  );
  find(
    reading.meterId === part.meter &&
      reading.lotSeconds === lotSeconds &&
      lotBefore(reading) < lot &&
      lot <= reading.lot,
    "it speaks of this meter and covers this lot",
    `lots ${lotBefore(reading) + 1n} … ${reading.lot}`,
  );
  if (part.previous !== null) {
    const at = BigInt(part.previous.lot);
    if (at >= lotBefore(reading) && at <= reading.lot) {
      const [here, there] = [registerAt(reading, at), BigInt(part.previous.forward)];
      find(
        here === there,
        "its register goes on where the one before it ended",
        `${here} Units at the end of lot ${at}`,
      );
    } else if (at < BigInt(part.firstLot) - 1n && lotBefore(reading) < BigInt(part.firstLot)) {
      find(true, "it is the first that counts here: it reaches back to the account's first lot with this meter");
    } else find(false, "it does not reach back to the reading before it", `that ended with lot ${at}`);
    if (part.previous.signed !== null) {
      const before = open(part.previous.signed);
      const by = recoverReadingSigner(domain, before.reading, before.signature);
      find(
        by.toLowerCase() === signerAt(part, before.reading.lot)?.toLowerCase() &&
          before.reading.meterId === part.meter &&
          before.reading.forward.toString() === part.previous.forward,
        "and that one is signed by it, too",
      );
    }
  }
  const measured = energyOf(reading, lot);
  const cut = measured > BigInt(part.capacity) ? BigInt(part.capacity) : measured;
  if (part.energy !== null) {
    const counted = BigInt(part.energy);
    find(
      counted === cut || part.role !== "consumer",
      counted === measured
        ? "the energy that was counted is the one that was signed"
        : counted === cut
          ? "the energy that was counted is the one that was signed, cut to the meter's capacity"
          : "the energy that was counted is the one that was signed, with a correction for an earlier estimate",
      `${counted} Units counted, ${measured} signed`,
    );
  }
  return { digest, signer, findings };
}

function checkPrice(detail: LotDetailJson): { cleared: ClearedLot | undefined; findings: Finding[] } {
  const of = (role: LotPartJson["role"]) => detail.parts.filter((part) => part.role === role && part.energy !== null);
  const received = of("distributor")[0]?.energy;
  if (received === undefined || received === null) {
    return { cleared: undefined, findings: [{ holds: false, what: "the distributor's energy is missing" }] };
  }
  const { terms, lot } = detail;
  const clear = (penaltyWaived: boolean) =>
    clearLot({
      plants: of("plant").map(({ energy, price }) => ({ energy: BigInt(energy!), pricePerKWh: BigInt(price ?? 0) })),
      received: BigInt(received),
      used: of("consumer").flatMap(({ energy, late }) => (late ? [] : [BigInt(energy!)])),
      terms: {
        idealLossBps: Number(terms.idealLossBps),
        serviceBps: Number(terms.serviceBps),
        penaltyBps: Number(terms.penaltyBps),
        toleranceBps: Number(terms.toleranceBps),
        maxPricePerKWh: BigInt(terms.maxPricePerKWh),
        penaltyWaived,
      },
    });
  const findings: Finding[] = [];
  const onChain = BigInt(detail.chainPrice ?? lot.price);
  let cleared = clear(false);
  if (cleared.pricePerKWh !== onChain && clear(true).pricePerKWh === onChain) {
    cleared = clear(true);
    findings.push({ holds: true, what: "no penalty here: an estimate or a correction took part" });
  }
  findings.push({
    holds: cleared.pricePerKWh === onChain,
    what:
      detail.chainPrice === null
        ? "the price, computed here from the energies, is the one that this server read"
        : "the price, computed here from the energies, is the one on chain",
    detail: `${cleared.pricePerKWh} wei per kWh here, ${onChain} there`,
  });
  const sums = [
    ["sent", cleared.sent, lot.sent],
    ["delivered", cleared.delivered, lot.delivered],
    ["unaccounted", cleared.unaccounted, lot.unaccounted],
    ["overdrawn", cleared.overdrawn, lot.overdrawn],
  ] as const;
  const off = sums.filter(([, here, there]) => here !== BigInt(there));
  findings.push({
    holds: off.length === 0,
    what:
      off.length === 0
        ? "so are the sums of sent, delivered and unaccounted energy"
        : `the sums differ: ${off.map(([name]) => name).join(", ")}`,
  });
  return { cleared, findings };
}

/** A lot's money is its energy at its price; the part below a wei is carried from lot to lot. */
function checkMoney(part: LotPartJson, cleared: ClearedLot | undefined): Finding[] {
  if (part.energy === null || part.money === null || cleared === undefined || part.role === "distributor") return [];
  const price = part.role === "plant" ? BigInt(part.price ?? 0) : cleared.pricePerKWh;
  const exact = (BigInt(part.energy) * price) / UNITS_PER_KWH;
  const money = BigInt(part.money);
  const holds = money === exact || money === exact + 1n;
  return holds
    ? []
    : [
        {
          holds,
          what: `the money of meter ${part.serial ?? part.meter} is not its energy at the price`,
          detail: `${money} wei, not ${exact}`,
        },
      ];
}
