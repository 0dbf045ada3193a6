import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { echo } from "./fixtures/adapter.ts";
import type { RunningNode } from "./fixtures/node.ts";
import { openPostgres, type Postgres, postgresHere } from "./fixtures/postgres.ts";
import { until } from "./fixtures/until.ts";
import { type Scene, startScene } from "./support/scene.ts";

/* Needs a PostgreSQL server, or its programs; what every machine has is tested on the embedded one. */
const skip = postgresHere() ? false : "PostgreSQL is not installed, and BIJULI_TEST_POSTGRES_URL names none";

describe("several processes on one PostgreSQL", { skip }, () => {
  let scene: Scene;
  let postgres: Postgres;

  const leads = async (node: RunningNode) => {
    const health = await node.get<{ checks: { leads: boolean } }>("/health").catch(() => undefined);
    return health?.checks.leads === true;
  };
  const leader = () =>
    until("a leader", async () => {
      for (const node of scene.nodes)
        if (node.child.exitCode === null && node.child.signalCode === null && (await leads(node))) return node;
      return undefined;
    });

  before(async () => {
    postgres = await openPostgres();
    scene = await startScene({ nodes: 2, settings: { QUEUE_URL: postgres.url, DATABASE_URL: postgres.url } });
  });
  after(async () => {
    await scene?.close();
    await postgres?.close();
  });

  test("two share the work: one leads, each request is delivered once, in order", async () => {
    scene.adapter.answer = (body) => ({ ...echo(body), delayMs: Math.random() * 200 });
    assert.equal((await Promise.all(scene.nodes.map(leads))).filter(Boolean).length, 1);
    for (const group of ["a", "b", "c"]) await scene.request(group, "x", 10);
    for (const group of ["a", "b", "c"]) {
      await scene.delivered(group, 10);
      assert.deepEqual(await scene.numbers(group), [...Array(10).keys()]);
    }
  });

  test("four, whose leader is killed in the midst of it, again and again", async () => {
    await scene.start();
    await scene.start();
    for (let round = 0; round < 3; round++) {
      await scene.request("killed", "x", 6);
      await sleep(100 + 60 * round);
      await (await leader()).kill();
      await scene.request("killed", "x", 2);
      await leader();
    }
    await scene.delivered("killed", 24, 60_000);
    assert.deepEqual(await scene.numbers("killed"), [...Array(24).keys()]);
  });
});
