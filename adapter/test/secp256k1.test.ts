import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type Hex, readingDomain, readingFromJson, recoverReadingSigner } from "@bijuli/protocol";
import { recoverFast } from "../src/secp256k1.ts";
import { DOMAIN, FixtureReader, LOT } from "./fixtures.ts";

const vectors = JSON.parse(
  readFileSync(new URL("../../protocol/test/vectors/readings.json", import.meta.url), "utf8"),
).vectors;

test("WebAssembly recovers every vector's signer", () => {
  for (const { domain, reading, signature, signer } of vectors) {
    const its = readingDomain({ chainId: domain.chainId, registry: domain.verifyingContract });
    assert.equal(recoverReadingSigner(its, readingFromJson(reading), signature, recoverFast), signer);
  }
});

test("what a key can have made and what none can: WebAssembly and ethers agree", () => {
  const meter = new FixtureReader("ODD");
  const reading = meter.reading(LOT, 3);
  const good = meter.sign(reading);
  const word = (value: bigint): string => value.toString(16).padStart(64, "0");
  const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const FIELD = 2n ** 256n - 2n ** 32n - 977n;
  const [r, s, v] = [good.slice(2, 66), good.slice(66, 130), good.slice(130)];
  const otherV = v === "1b" ? "1c" : "1b";
  const odd: [string, string, "a signer" | "none"][] = [
    ["as signed", r + s + v, "a signer"],
    ["the other parity", r + s + otherV, "a signer"],
    ["v as 0 or 1", `${r}${s}0${Number.parseInt(v, 16) - 27}`, "a signer"],
    ["v of EIP-155", `${r + s}26`, "a signer"],
    ["v = 29", `${r + s}1d`, "none"],
    ["the same key's high s", r + word(ORDER - BigInt(`0x${s}`)) + otherV, "none"],
    ["s at the middle", r + word(ORDER / 2n) + v, "a signer"],
    ["s beyond the middle", r + word(ORDER / 2n + 1n) + v, "none"],
    ["r = 0", word(0n) + s + v, "none"],
    ["s = 0", r + word(0n) + v, "none"],
    ["r = 1", word(1n) + s + v, "a signer"],
    ["r that is no point's", word(5n) + s + v, "none"],
    ["r = order", word(ORDER) + s + v, "none"],
    ["r = order − 1", word(ORDER - 1n) + s + v, "none"],
    ["s = order", r + word(ORDER) + v, "none"],
    ["r = field", word(FIELD) + s + v, "none"],
    ["all ones", "ff".repeat(64) + v, "none"],
    ["all zeros", "00".repeat(65), "none"],
  ];
  for (let i = 0; i < 60; i++) {
    const random = createHash("sha512").update(`signature ${i}`).digest("hex");
    odd.push([`random ${i}`, random + (i % 2 === 0 ? "1b" : "1c"), "none"]);
  }
  let recovered = 0;
  for (const [name, digits, expected] of odd) {
    const signer = (fast: boolean): string => {
      try {
        return recoverReadingSigner(DOMAIN, reading, `0x${digits}` as Hex, ...(fast ? [recoverFast] : []));
      } catch (error) {
        assert.match((error as Error).message, /the signature is malformed/);
        return "none";
      }
    };
    const found = signer(true);
    assert.equal(found, signer(false), name);
    if (found !== "none") recovered++;
    if (!name.startsWith("random")) assert.equal(found === "none" ? "none" : "a signer", expected, name);
  }
  assert.ok(recovered > 10 && recovered < odd.length - 10);
});
