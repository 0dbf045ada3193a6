import { createHash } from "node:crypto";
import { formatKWh, type Hex, lotEnd, Quality } from "@bijuli/protocol";
import { SigningKey } from "ethers/crypto";
import type { AuditIdentity } from "./audit.ts";
import type { ClosedLot } from "./store.ts";
import { version } from "./version.ts";

/** Forward is what flows towards the load: OBIS 1.8.0; reverse is 2.8.0. */
const REGISTERS = [
  ["forward", "1-0:1.8.0"],
  ["reverse", "1-0:2.8.0"],
] as const;

/**
 * Open Charge Metering Format 1.2, one record a lot, in its fiscal context: registers at the lot's end that belong to no
 * transaction. The page number is the lot's, so that a record that is missing shows. The format asks for a signature
 * over its own text, so that each record is signed here, with the same kind of key; the meter's own reading is under
 * XR and XS, where the format lets a vendor add what is his.
 * @param current AC or DC, where it is known
 */
export function* ocmfRecords(
  identity: AuditIdentity,
  lots: Iterable<ClosedLot>,
  privateKey: Hex,
  current?: "AC" | "DC",
): Generator<string> {
  const key = new SigningKey(privateKey);
  for (const lot of lots) {
    const payload = payloadOf(identity, lot, current);
    const digest = createHash("sha256").update(payload).digest();
    const { r, s } = key.sign(digest);
    const signature = JSON.stringify({ SA: "ECDSA-secp256k1-SHA256", SD: der(r, s) });
    yield `OCMF|${payload}|${signature}`;
  }
}

function payloadOf({ serial, lotSeconds }: AuditIdentity, lot: ClosedLot, current: "AC" | "DC" | undefined): string {
  const end = new Date(Number(lotEnd(lot.lot, lotSeconds)) * 1000).toISOString();
  const clock = lot.quality & Quality.CLOCK_INVALID ? "I" : "S";
  const time = `${end.slice(0, 19)},000+0000 ${clock}`;
  const unusable = (lot.quality & (Quality.CRITICAL_ERROR | Quality.DATA_INVALID)) !== 0;
  const status = {
    EF: `${unusable ? "E" : ""}${clock === "I" ? "t" : ""}`,
    ST: unusable ? "E" : "G",
  };
  const first = { RU: "kWh", ...(current === undefined ? {} : { RT: current }), ...status };
  // JSON numbers with all of a register's decimals: no float could carry them.
  const readings = REGISTERS.map(
    ([register, obis], index) =>
      `{${JSON.stringify({ TM: time }).slice(1, -1)},"RV":${formatKWh(lot[register])},${JSON.stringify({ RI: obis, ...(index === 0 ? first : { ST: status.ST }) }).slice(1, -1)}}`,
  );
  // The pipe separates the format's sections and must not stand within one.
  const text = (value: object) => JSON.stringify(value).replaceAll("|", "\\u007c");
  const general = text({ FV: "1.2", GI: "Bijuli reader", GS: serial, GV: version, PG: `F${lot.lot}`, MS: serial });
  const own = text({ XR: { lot: `${lot.lot}`, quality: lot.quality, energy: `${lot.energy}` }, XS: lot.signature });
  return `${general.slice(0, -1)},"RD":[${readings.join(",")}],${own.slice(1)}`;
}

/** ECDSA-Sig-Value of RFC 3279, in hex. */
function der(r: string, s: string): string {
  const integer = (hex: string) => {
    const digits = hex.slice(2).replace(/^(00)+(?=..)/, "");
    const positive = Number.parseInt(digits.slice(0, 2), 16) & 0x80 ? `00${digits}` : digits;
    return `02${(positive.length / 2).toString(16).padStart(2, "0")}${positive}`;
  };
  const body = integer(r) + integer(s);
  return `30${(body.length / 2).toString(16).padStart(2, "0")}${body}`;
}
