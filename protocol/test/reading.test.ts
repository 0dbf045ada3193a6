import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  BijuliError,
  decodeEnergies,
  decodeRecords,
  disagreement,
  domainSeparator,
  encodeRecord,
  energyOf,
  type Hex,
  LOT_READING_TYPE,
  LOT_READING_TYPES,
  type LotReading,
  MISSING_RECORD,
  meterIdOf,
  readingDigest,
  readingDomain,
  readingFromJson,
  readingFromRecord,
  readingStructHash,
  readingToJson,
  recordLength,
  recoverReadingSigner,
  registerAt,
  signReading,
  typedDataDomain,
} from "@bijuli/protocol";
import { SigningKey, TypedDataEncoder } from "ethers";

const file = JSON.parse(readFileSync(new URL("./vectors/readings.json", import.meta.url), "utf8"));

describe("the signed reading agrees with its vectors", () => {
  it("type", () => {
    assert.equal(file.type, LOT_READING_TYPE);
    assert.equal(TypedDataEncoder.from(LOT_READING_TYPES).encodeType("LotReading"), LOT_READING_TYPE);
  });

  for (const vector of file.vectors) {
    it(vector.note, () => {
      const domain = readingDomain({ chainId: vector.domain.chainId, registry: vector.domain.verifyingContract });
      const reading = readingFromJson(vector.reading);
      assert.equal(meterIdOf(vector.serial), vector.reading.meterId);
      assert.deepEqual(reading.energies, vector.energies.map(BigInt));
      assert.deepEqual(readingToJson(reading), vector.reading);
      assert.equal(readingStructHash(reading), vector.structHash);
      assert.equal(readingDigest(domain, reading), vector.digest);
      assert.equal(domainSeparator(domain), TypedDataEncoder.hashDomain(typedDataDomain(domain)));
      assert.equal(signReading(domain, reading, new SigningKey(vector.privateKey)), vector.signature);
      assert.equal(recoverReadingSigner(domain, reading, vector.signature), vector.signer);

      // The record, field by field: n, quality, forward, reverse, r, vs, energies.
      const record = encodeRecord(reading, vector.signature);
      assert.equal(record, vector.record);
      assert.equal((record.length - 2) / 2, recordLength(reading.energies.length));
      const [decoded] = decodeRecords(record);
      assert.deepEqual(readingFromRecord(decoded!, reading), { reading, signature: vector.signature });
    });
  }
});

const day = readingFromJson(file.vectors[3].reading);
const sample = (change: Partial<LotReading>): LotReading => ({
  meterId: meterIdOf("M"),
  lot: 100n,
  lotSeconds: 300,
  forward: 60n,
  reverse: 0n,
  quality: 0,
  energies: [10n, 20n, 30n],
  ...change,
});

describe("registers", () => {
  it("follow from the last one and the energies", () => {
    assert.deepEqual(
      [97n, 98n, 99n, 100n].map((lot) => registerAt(sample({}), lot)),
      [0n, 10n, 30n, 60n],
    );
    assert.equal(energyOf(sample({}), 99n), 20n);
    assert.equal(registerAt(day, day.lot - 288n), day.forward - day.energies.reduce((a, b) => a + b));
    for (const lot of [96n, 101n]) assert.throws(() => registerAt(sample({}), lot), /covers lots 98…100, not/);
  });

  it("agree or disagree at common lots' ends, the lot before the first included", () => {
    assert.equal(disagreement(sample({}), sample({ lot: 98n, forward: 10n, energies: [10n] })), undefined);
    assert.equal(disagreement(sample({}), sample({ lot: 98n, forward: 11n, energies: [10n] })), 97n);
    assert.equal(disagreement(sample({}), sample({ lot: 98n, forward: 11n, energies: [11n] })), 98n);
    assert.equal(disagreement(sample({}), sample({ lot: 101n, forward: 61n, energies: [1n] })), undefined);
    assert.equal(disagreement(sample({}), sample({ lot: 101n, forward: 62n, energies: [1n] })), 100n);
    assert.equal(disagreement(sample({}), sample({ reverse: 1n })), 100n);
    assert.equal(disagreement(sample({}), sample({ lot: 110n, forward: 1n, energies: [1n] })), undefined);
  });
});

describe("what no meter can have said is refused, by field", () => {
  const refusals: [string, Partial<LotReading>, RegExp][] = [
    ["a register beyond 64 bits", { forward: 2n ** 64n }, /forward 18446744073709551616 does not fit 64 bits/],
    ["an energy beyond 48 bits", { forward: 2n ** 60n, energies: [2n ** 48n] }, /does not fit 48 bits/],
    ["a negative energy", { energies: [-1n] }, /does not fit 48 bits/],
    ["more energy than the register holds", { forward: 59n }, /sum to 60 Units, more than the register's 59/],
    ["no lot", { energies: [] }, /cover 0 lots/],
    ["more lots than there have been", { lot: 1n }, /more than there are up to lot 1/],
    ["a lot length of zero", { lotSeconds: 0 }, /lotSeconds 0/],
    ["a quality beyond 16 bits", { quality: 65536 }, /quality 65536/],
    ["a meterId of the wrong length", { meterId: "0x12" }, /meterId is not 32 bytes/],
  ];
  const key = new SigningKey(file.vectors[0].privateKey);
  const domain = readingDomain({ chainId: 1, registry: file.vectors[0].domain.verifyingContract });
  for (const [name, change, message] of refusals) {
    it(name, () => assert.throws(() => signReading(domain, sample(change), key), message));
  }

  it("JSON with an unknown, missing or mistyped field", () => {
    const json = readingToJson(sample({}));
    assert.throws(() => readingFromJson({ ...json, extra: 1 }), /extra/);
    assert.throws(() => readingFromJson({ ...json, lot: 100 }), /lot/);
    assert.throws(() => readingFromJson({ ...json, forward: "060" }), /forward must be a decimal string/);
    assert.throws(() => readingFromJson({ ...json, energies: "0x00" }), /6-byte/);
    assert.throws(() => readingFromJson(null), BijuliError);
  });
});

describe("records", () => {
  const [one, three] = [file.vectors[0].record, file.vectors[1].record] as [Hex, Hex];
  const join = (...records: string[]): Hex => `0x${records.map((record) => record.slice(2)).join("")}`;

  it("are split in order, missing ones included", () => {
    const records = decodeRecords(join(one, MISSING_RECORD, three, MISSING_RECORD));
    assert.deepEqual(
      records.map((record) => record?.record ?? null),
      [one, null, three, null],
    );
    assert.deepEqual(decodeRecords("0x"), []);
  });

  it("that end early are refused at every length", () => {
    for (let cut = 4; cut < one.length; cut += 2)
      assert.throws(() => decodeRecords(one.slice(0, cut) as Hex), BijuliError);
    assert.throws(() => decodeRecords("0x00010" as Hex), /not hex/);
    assert.throws(() => decodeEnergies("0x0000000000"), /6-byte/);
  });

  it("whose bytes were changed recover to another signer or to none", () => {
    const domain = readingDomain({ chainId: 31337, registry: file.vectors[0].domain.verifyingContract });
    const known = readingFromJson(file.vectors[0].reading);
    for (let at = 4; at < (one.length - 2) / 2; at++) {
      const digits = (Number.parseInt(one.slice(2 + 2 * at, 4 + 2 * at), 16) ^ 1).toString(16).padStart(2, "0");
      const forged = `${one.slice(0, 2 + 2 * at)}${digits}${one.slice(4 + 2 * at)}` as Hex;
      let signer: string | undefined;
      try {
        const signed = readingFromRecord(decodeRecords(forged)[0]!, known);
        signer = recoverReadingSigner(domain, signed.reading, signed.signature);
      } catch (error) {
        assert.ok(error instanceof BijuliError);
      }
      assert.notEqual(signer, file.vectors[0].signer, `byte ${at}`);
    }
  });
});

describe("a serial", () => {
  it("is normalised to NFC", () => assert.equal(meterIdOf("e\u0301"), meterIdOf("\u00e9")));
  it("is 1–64 bytes of well-formed text", () => {
    for (const serial of ["", "x".repeat(65), "ä".repeat(33), "\ud800"])
      assert.throws(() => meterIdOf(serial), /serial/);
    assert.doesNotThrow(() => meterIdOf("x".repeat(64)));
  });
});
