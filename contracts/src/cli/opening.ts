import { readFileSync } from "node:fs";
import {
  BijuliError,
  type Hex,
  isHex,
  type LotReading,
  meterIdOf,
  readingDomain,
  readingFromJson,
  recoverReadingSigner,
} from "@bijuli/protocol";
import { z } from "zod";

const hex = (bytes: number) => z.custom<Hex>((value) => isHex(value, bytes), `must be ${bytes} bytes as hex`);

const openingShape = z.looseObject({
  serial: z.string().optional(),
  reading: z.unknown(),
  signature: hex(65),
  signer: hex(20).optional(),
});
const identityShape = z.looseObject({
  serial: z.string(),
  signer: hex(20),
  domain: z.looseObject({ chainId: z.coerce.string(), verifyingContract: hex(20) }).optional(),
  opening: openingShape.nullable(),
});

/** A meter as it presents itself to be registered. */
export interface Commissioned {
  serial: string | undefined;
  signer: Hex;
  reading: LotReading;
  signature: Hex;
}

/**
 * Reads a meter's signed opening reading from what its reader serves at /identity, or from a file that holds that, or
 * only its `opening`; checks serial, signer and domain.
 * @throws BijuliError reader-unreachable, bad-identity
 */
export async function readOpening(
  from: { reader?: string | undefined; file?: string | undefined; token?: string | undefined },
  registry: { chainId: string; registry: string },
): Promise<Commissioned> {
  const place = from.reader ?? from.file!;
  const json = from.reader ? await ask(from.reader, from.token) : readJson(place);
  const bad = (why: string, remedy?: string) => new BijuliError("bad-identity", `${place}: ${why}`, { remedy });
  const identity = identityShape.safeParse(json);
  const alone = openingShape.safeParse(json);
  if (!identity.success && !alone.success) {
    const issue = identity.error.issues[0]!;
    throw bad(`it is no meter's identity: ${issue.path.join(".")} ${issue.message}`);
  }
  const domain = identity.data?.domain;
  if (domain && (domain.chainId !== registry.chainId || !same(domain.verifyingContract, registry.registry))) {
    throw bad(
      `the meter signs for registry ${domain.verifyingContract} on chain ${domain.chainId}, not for ${registry.registry} on ${registry.chainId}`,
      "set CHAIN_ID and REGISTRY_ADDRESS at the reader",
    );
  }
  const opening = identity.success ? identity.data.opening : alone.data!;
  if (!opening) throw bad("the meter has not begun its first lot yet", "ask again when it has");
  const reading = readingFromJson(opening.reading);
  const serial = identity.data?.serial ?? opening.serial;
  if (serial !== undefined && meterIdOf(serial) !== reading.meterId) {
    throw bad(`its opening reading is of meter ${reading.meterId}, which is not ${serial}`);
  }
  const recovered = recoverReadingSigner(readingDomain(registry as never), reading, opening.signature) as Hex;
  const signer = identity.data?.signer ?? opening.signer ?? recovered;
  if (!same(recovered, signer)) throw bad(`its opening reading is signed by ${recovered}, not by ${signer}`);
  return { serial, signer: recovered, reading, signature: opening.signature };
}

async function ask(reader: string, token: string | undefined): Promise<unknown> {
  const url = URL.parse(reader);
  if (!url || !/^https?:$/.test(url.protocol))
    throw new BijuliError("usage", `--reader ${reader} must be an http(s) URL`);
  const target = url.pathname.endsWith("/identity") ? url : new URL("identity", `${url.href.replace(/\/?$/, "/")}`);
  try {
    const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(target, { headers, signal: AbortSignal.timeout(15_000) });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    return await response.json();
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    throw new BijuliError(
      "reader-unreachable",
      `the reader at ${url.origin}: ${cause?.code ?? (error as Error).message}`,
    );
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    throw new BijuliError("bad-identity", `${path}: ${missing ? "there is no such file" : "not JSON"}`);
  }
}

const same = (a: string, b: string) => a.toLowerCase() === b.toLowerCase();
