import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { compile } from "../contracts/scripts/compile.ts";
import { follow } from "../scripts/start/follow.ts";
import { readGrid } from "../scripts/start/grid.ts";
import type { LotLine } from "../scripts/start/lot-line.ts";
import { Network } from "../scripts/start/network.ts";
import { checkRecordings } from "../scripts/start/recordings.ts";
import { type Fault, MisbehavingReader } from "./support/misbehaving-reader.ts";
import { expectedLines } from "./support/recording.ts";
import { householdGrid } from "./support/start.ts";

/*
 * A reader that misbehaves holds up its lot, and only until it is put right; meanwhile the node's run says why.
 */

const faults: [Fault, RegExp][] = [
  ["wrong key", /MAIN-1.*signed/],
  ["tampered record", /MAIN-1.*sign/],
  ["lot still open", /MAIN-1.*not over/],
  ["down", /MAIN-1.*reach/],
];

describe("a reader that misbehaves", { timeout: 120_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), "bijuli-put-right-"));
  const front = new MisbehavingReader();
  const lines: LotLine[] = [];
  const grid = readGrid(householdGrid);
  const span = checkRecordings(grid);
  let network: Network;
  let following: ReturnType<typeof follow>;

  before(async () => {
    await compile();
    // The proxy must have its address before the adapter starts; what stands behind it is known once the reader runs.
    let behind = "";
    await front.listen(() => behind);
    network = new Network({
      grid,
      dir,
      originMs: span.originMs!,
      speed: 600,
      lots: undefined,
      rpcPort: undefined,
      queueUrl: undefined,
      progress: () => {},
      frontOf: (serial, url) => {
        if (serial !== "MAIN-1") return url;
        behind = url;
        return front.url;
      },
    });
    await network.setUp();
    following = follow(network, grid, { lots: undefined, lastLot: span.lots, onLot: (line) => lines.push(line) });
    following.done.catch(() => {});
    network.run();
  });

  after(async () => {
    following?.stop();
    await network?.stop();
    front.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const until = async (what: string, condition: () => boolean | Promise<boolean>, ms = 20_000) => {
    for (
      const deadline = Date.now() + ms;
      !(await condition());
      await new Promise((resolve) => setTimeout(resolve, 100))
    ) {
      if (Date.now() > deadline) assert.fail(`waited ${ms} ms for ${what}`);
    }
  };
  const causes = async () => {
    const runs = (await (await fetch(new URL("/runs", network.links.node))).json()) as {
      cause?: string | null;
      state: string;
    }[];
    return runs.map(({ cause }) => cause ?? "");
  };

  for (const [fault, cause] of faults) {
    it(`${fault}: refused with the cause, seen in the node's run; the lot clears once it is put right`, async () => {
      const before = lines.length;
      await until("a first lot", () => lines.length > before);
      front.fault = fault;
      await until(`a run that says ${cause}`, async () => (await causes()).some((text) => cause.test(text)));
      const held = lines.length;
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      assert.ok(lines.length <= held + 1, "lots went on clearing without the distributor's reading");
      front.fault = "honest";
      await until("the lots that were held up", () => lines.length >= held + 3);
    });
  }

  it("and nothing was lost or changed on the way", () => {
    const expected = expectedLines(householdGrid, lines.length);
    assert.deepEqual(
      lines.map(({ transactions: _, ...line }) => line),
      expected,
    );
  });
});
