import assert from "node:assert/strict";
import { test } from "node:test";
import type { Hex } from "@bijuli/protocol";
import { originOf } from "../src/ledger/index.ts";

const plants = (...energies: bigint[]) =>
  energies.map((energy, i) => ({ meterId: `0x${i.toString(16).padStart(64, "0")}` as Hex, energy }));
const shares = (energy: bigint, ...sent: bigint[]) => originOf(energy, plants(...sent)).map((share) => share.energy);

test("origin: whole Units by the largest remainders, the first plant first where they tie", () => {
  assert.deepEqual(shares(10n, 1n, 1n, 1n), [4n, 3n, 3n]);
  assert.deepEqual(shares(100n, 70n, 30n), [70n, 30n]);
  assert.deepEqual(shares(1n, 1n, 2n), [0n, 1n]);
  assert.deepEqual(shares(7n, 0n, 5n), [0n, 7n]);
  assert.deepEqual(shares(0n, 3n, 4n), [0n, 0n]);
  assert.deepEqual(shares(5n, 0n, 0n), [], "nothing was sent: nobody can say where it came from");
});

test("origin: the shares sum up to the energy, and none is a Unit off its exact value", () => {
  let seed = 1n;
  const next = (below: bigint) => (seed = (seed * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n) % below;
  for (let i = 0; i < 500; i++) {
    const sent = Array.from({ length: 1 + Number(next(9n)) }, () => next(10n ** 12n) + 1n);
    const energy = next(10n ** 12n);
    const all = sent.reduce((a, b) => a + b);
    const parts = shares(energy, ...sent);
    assert.equal(
      parts.reduce((a, b) => a + b),
      energy,
    );
    for (const [k, part] of parts.entries()) {
      const off = part * all - energy * sent[k]!;
      assert.ok(-all < off && off < all, `${part} of ${energy}`);
    }
  }
});
