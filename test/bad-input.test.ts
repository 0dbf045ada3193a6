import assert from "node:assert/strict";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { householdGrid, start, tidy } from "./support/start.ts";

/*
 * What `npm start` refuses: one clear line that names file and field, exit code 2, nothing started.
 */

const folder = mkdtempSync(join(tmpdir(), "bijuli-bad-"));
after(() => rmSync(folder, { recursive: true }));
before(() => {
  for (const file of readdirSync(dirname(householdGrid)))
    copyFileSync(join(dirname(householdGrid), file), join(folder, file));
});

// biome-ignore lint/suspicious/noExplicitAny: the grid is broken in every way that JSON allows
type Json = any;

const grids: [string, (grid: Json) => void, RegExp][] = [
  [
    "an unknown key",
    (g) => (g.feeders[0].terms.idealLosBps = 1),
    /grid\.json: feeders\[0\]\.terms\.idealLosBps: unknown key/,
  ],
  ["an unknown key at the top", (g) => (g.lotsSeconds = 300), /grid\.json: lotsSeconds: unknown key/],
  [
    "a serial used twice",
    (g) => (g.feeders[0].consumers[1].serial = "KITCHEN"),
    /feeders\[0\]\.consumers\[1\]\.serial: "KITCHEN" is already the serial of feeders\[0\]\.consumers\[0\]/,
  ],
  [
    "a serial that is too long",
    (g) => (g.feeders[0].plants[0].serial = "x".repeat(65)),
    /feeders\[0\]\.plants\[0\]\.serial: .*1–64 bytes/,
  ],
  [
    "a missing CSV",
    (g) => (g.feeders[0].plants[0].source.replay = "none.csv"),
    /grid\.json: feeders\[0\]\.plants\[0\]\.source\.replay: .*none\.csv/,
  ],
  ["a lot length of zero", (g) => (g.lotSeconds = 0), /grid\.json: lotSeconds: must be at least 1/],
  [
    "a price beyond 2^62",
    (g) => (g.feeders[0].plants[0].pricePerKWh = `${2n ** 62n}`),
    /feeders\[0\]\.plants\[0\]\.pricePerKWh: must be below 2\^62/,
  ],
  [
    "a price that is a float",
    (g) => (g.feeders[0].plants[0].pricePerKWh = "3.3"),
    /pricePerKWh: must be a decimal string/,
  ],
  ["no distributor", (g) => delete g.feeders[0].distributor, /feeders\[0\]\.distributor: is missing/],
  [
    "a source of no known kind",
    (g) => (g.feeders[0].consumers[0].source = { reply: "x" }),
    /feeders\[0\]\.consumers\[0\]\.source: must be/,
  ],
  ["no feeder", (g) => (g.feeders = []), /feeders: must name at least one feeder/],
];

const rows: [string, (lines: string[]) => void, RegExp][] = [
  [
    "a CSV row that goes back in time",
    (lines) => ([lines[3], lines[4]] = [lines[4]!, lines[3]!]),
    /kitchen\.csv:5\b.*time/,
  ],
  [
    "a negative power",
    (lines) => (lines[7] = lines[7]!.replace(/[^,]*$/, "-1.000")),
    /kitchen\.csv:8\b.*power.*negative/,
  ],
  [
    "a power with seven decimals",
    (lines) => (lines[7] = lines[7]!.replace(/[^,]*$/, "1.0000000")),
    /kitchen\.csv:8\b.*power.*decimals/,
  ],
  ["a power that is no number", (lines) => (lines[2] = lines[2]!.replace(/[^,]*$/, "NaN")), /kitchen\.csv:3\b.*power/],
  ["a column that is missing", (lines) => (lines[0] = "when,voltage"), /kitchen\.csv:1\b.*time/],
  ["no row at all", (lines) => lines.splice(1), /kitchen\.csv/],
];

async function refused(args: readonly string[], message: RegExp): Promise<void> {
  const run = await start(args);
  const code = await run.ended;
  assert.equal(code, 2, run.stderr);
  const lines = run.stderr.trimEnd().split("\n");
  assert.equal(lines.length, 1, run.stderr);
  assert.match(lines[0]!, message);
  assert.equal(run.stdout, "");
  assert.equal(existsSync(join(run.dir, "logs")), false, "something was started");
  tidy(run);
}

describe("npm start refuses", { timeout: 120_000, concurrency: 2 }, () => {
  for (const [i, [name, change, message]] of grids.entries()) {
    it(`a grid with ${name}`, async () => {
      const grid = JSON.parse(readFileSync(householdGrid, "utf8"));
      change(grid);
      const file = join(folder, `bad-${i}.grid.json`);
      writeFileSync(file, JSON.stringify(grid));
      await refused(["--grid", file, "--lots", "1"], message);
    });
  }

  it("a grid that is not JSON, or not there", async () => {
    writeFileSync(join(folder, "text.grid.json"), "{");
    await refused(["--grid", join(folder, "text.grid.json")], /text\.grid\.json: not JSON/);
    await refused(["--grid", join(folder, "none.grid.json")], /none\.grid\.json: there is no such grid file/);
  });

  for (const [i, [name, change, message]] of rows.entries()) {
    it(name, async () => {
      const lines = readFileSync(join(dirname(householdGrid), "kitchen.csv"), "utf8")
        .trimEnd()
        .split("\n");
      change(lines);
      const csv = `${i}-kitchen.csv`;
      writeFileSync(join(folder, csv), `${lines.join("\n")}\n`);
      const grid = JSON.parse(readFileSync(householdGrid, "utf8"));
      grid.feeders[0].consumers[0].source.replay = csv;
      const file = join(folder, `rows-${i}.grid.json`);
      writeFileSync(file, JSON.stringify(grid));
      await refused(["--grid", file, "--lots", "1"], message);
    });
  }

  it("a port in use", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    await refused(
      ["--grid", householdGrid, "--rpc-port", `${port}`],
      new RegExp(`port ${port} is in use; choose another with --rpc-port`),
    );
    await refused(
      ["--grid", householdGrid, "--port", `${port}`],
      new RegExp(`port ${port} is in use; choose another with --port`),
    );
    server.close();
  });

  it("more lots than the recording has, and fewer than one clearing", async () => {
    await refused(["--grid", householdGrid, "--lots", "9999"], /9999 lots.*recording.*658/);
    const grid = { ...JSON.parse(readFileSync(householdGrid, "utf8")), lotsPerClearing: 12 };
    writeFileSync(join(folder, "twelve.grid.json"), JSON.stringify(grid));
    await refused(["--grid", join(folder, "twelve.grid.json"), "--lots", "6"], /6 lots.*12/);
  });

  it("options that it does not know, or values that make no sense", async () => {
    await refused(["--gird", "x"], /--gird/);
    await refused(["--lots", "0"], /--lots must be a whole number/);
    await refused(["--speed", "fast"], /--speed must be a whole number/);
  });
});
