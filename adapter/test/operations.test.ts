import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SettingsError } from "@bijuli/protocol";
import pino from "pino";
import { checkSettings } from "../src/settings.ts";
import { adapterOver, FixtureReader, getJson, HandClock, LOT, post, settingsFor } from "./fixtures.ts";

test("a bearer token: needed for everything that tells something, 401 in the one error shape", async () => {
  const reader = await new FixtureReader("GUARDED").start();
  const adapter = await adapterOver([reader], { env: { EA_TOKEN: "s3cr3t" } });
  try {
    const data = { meters: ["GUARDED"], lot: LOT.toString() };
    for (const headers of [{}, { authorization: "Bearer wrong" }, { authorization: "Basic s3cr3t" }]) {
      const refused = await post(adapter.url, { data }, headers as Record<string, string>);
      assert.equal(refused.status, 401);
      assert.equal(refused.body.status, "errored");
      assert.ok(!refused.text.includes("s3cr3t"));
    }
    assert.equal((await post(adapter.url, { data }, { authorization: "Bearer s3cr3t" })).status, 200);
    for (const path of ["/status", "/metrics", "/evidence"]) {
      assert.equal((await fetch(adapter.url + path)).status, 401, path);
      const seen = await fetch(adapter.url + path, { headers: { authorization: "Bearer s3cr3t" } });
      assert.equal(seen.status, 200);
      assert.ok(!(await seen.text()).includes("s3cr3t"), `${path} shows no secret`);
    }
    for (const path of ["/health", "/ready"]) assert.equal((await fetch(adapter.url + path)).status, 200, path);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("as many requests under way as allowed; one more is told to come back", async () => {
  const reader = await new FixtureReader("BUSY").start();
  reader.delayMs = 150;
  const adapter = await adapterOver([reader], { env: { MAX_CONCURRENT_REQUESTS: "3" } });
  try {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        post(adapter.url, { data: { meters: ["BUSY"], lot: (LOT - BigInt(i)).toString() } }),
      ),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 200, 503, 503, 503]);
    const refused = answers.find(({ status }) => status === 503)!;
    assert.equal(refused.headers.get("retry-after"), "1");
    assert.match(refused.body.error.message, /3 requests are under way/);
    assert.equal((await post(adapter.url, { data: { meters: ["BUSY"], lot: LOT.toString() } })).status, 200);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("job requests are limited by address; a refusal is logged with the caller's correlation id", async () => {
  const reader = await new FixtureReader("LIMITED").start();
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const adapter = await adapterOver([reader], { log, env: { REQUESTS_PER_SECOND: "2" } });
  try {
    const answers = [];
    for (let i = 0; i < 6; i++) {
      const headers = { "x-correlation-id": `request-${i}` };
      answers.push(await post(adapter.url, { data: { meters: ["LIMITED"], lot: LOT.toString() } }, headers));
    }
    assert.equal(answers[0]?.status, 200);
    const refused = answers.at(-1)!;
    assert.equal(refused.status, 503, "a Chainlink node tries nothing below 500 again");
    assert.equal(refused.body.error.name, "TooManyRequests");
    assert.equal(refused.headers.get("retry-after"), "1");
    const logged = lines.map((line) => JSON.parse(line)).find(({ correlationId }) => correlationId === "request-5");
    assert.equal(logged.statusCode, 503);
    assert.equal(logged.cause, "too-many-requests");
    // What is no name is not put into a log.
    await post(adapter.url, {}, { "x-correlation-id": "x".repeat(65) });
    assert.ok(!lines.join("").includes("x".repeat(65)));
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("metrics carry the names of Chainlink's framework where it has one", async () => {
  const reader = await new FixtureReader("MEASURED").start();
  const adapter = await adapterOver([reader]);
  try {
    await post(adapter.url, { data: { meters: ["MEASURED"], lot: LOT.toString() } });
    await post(adapter.url, { data: { meters: ["MEASURED"], lot: LOT.toString() } });
    const text = await (await fetch(`${adapter.url}/metrics`)).text();
    // smartcontractkit/ea-framework-js, src/metrics/index.ts
    const lines = [
      /^http_requests_total\{method="POST",status_code="200",type="cacheHit",app_name="BIJULI",app_version="[^"]+"\} 1$/m,
      /^http_requests_total\{method="POST",status_code="200",type="dataProviderHit",.*\} 1$/m,
      /^http_request_duration_seconds_count\{.*\} 2$/m,
      /^request_payload_size_count\{.*\} 2$/m,
      /^data_provider_requests\{method="GET",provider_status_code="200",.*\} 1$/m,
      /^data_provider_request_duration_seconds_count\{.*\} 1$/m,
      /^cache_data_get_count\{.*\} 1$/m,
      /^cache_data_set_count\{.*\} 1$/m,
      /^bg_execute_total\{.*\} 0$/m,
      /^bg_execute_duration_seconds\{.*\} 0$/m,
    ];
    for (const line of lines) assert.match(text, line);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("/ready follows the meters' freshness; metrics have a port of their own and each meter's age", async () => {
  const readers = [await new FixtureReader("FRESH").start(), await new FixtureReader("STALE").start()];
  const clock = new HandClock(LOT + 1n, 60);
  const adapter = await adapterOver(readers, { clock, env: { METRICS_PORT: "0" } });
  try {
    assert.equal((await getJson(`${adapter.url}/ready`)).ready, true, "at start nothing is late yet");
    await post(adapter.url, { data: { meters: ["FRESH"], lot: LOT.toString() } });
    clock.ms += 1_200_000;
    const response = await fetch(`${adapter.url}/ready`);
    assert.equal(response.status, 503);
    assert.deepEqual(await response.json(), { ready: false, meters: 2, fresh: 0 });
    await post(adapter.url, { data: { meters: ["FRESH"], lot: (LOT + 4n).toString() } });
    assert.deepEqual(await getJson(`${adapter.url}/ready`), { ready: true, meters: 2, fresh: 1 });

    assert.equal((await fetch(`${adapter.url}/metrics`)).status, 404);
    const elsewhere = await fetch(new URL("/status", adapter.metricsUrl!));
    assert.equal(elsewhere.status, 404);
    assert.equal(((await elsewhere.json()) as { status: string }).status, "errored", "the one error shape");
    const text = await (await fetch(adapter.metricsUrl!)).text();
    assert.match(text, /bijuli_newest_reading_age_seconds\{serial="FRESH".*\} 60/);
    assert.match(text, /data_provider_requests\{method="GET",provider_status_code="200".*\} 2/);
    assert.match(text, /cache_data_set_count\{.*\} 2/);
  } finally {
    await adapter.close();
    for (const reader of readers) await reader.stop();
  }
});

test("a reader whose clock is off is named in the log, in /status and in the metrics", async () => {
  const reader = await new FixtureReader("AHEAD").start();
  reader.clockAheadMs = 90_000;
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const adapter = await adapterOver([reader], { log });
  try {
    await post(adapter.url, { data: { meters: ["AHEAD"], lot: LOT.toString() } });
    assert.ok(
      lines.some((line) => /meter AHEAD .*clock is (89|90|91) s ahead/.test(line)),
      lines.join(""),
    );
    assert.ok(Math.abs((await getJson(`${adapter.url}/status`)).meters[0].clockSkewSeconds - 90) <= 1);
    assert.match(await (await fetch(`${adapter.url}/metrics`)).text(), /bijuli_readers_clock_off\{.*\} 1/);
    reader.clockAheadMs = 0;
    await post(adapter.url, { data: { meters: ["AHEAD"], lot: (LOT - 1n).toString() } });
    assert.equal((await getJson(`${adapter.url}/status`)).meters[0].clockSkewSeconds, undefined);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("BASE_URL moves everything under a path", async () => {
  const reader = await new FixtureReader("BASED").start();
  for (const base of ["/ea/bijuli", "/ea/bijuli/"]) {
    const adapter = await adapterOver([reader], { env: { BASE_URL: base } });
    try {
      const data = { meters: ["BASED"], lot: LOT.toString() };
      for (const path of ["/ea/bijuli", "/ea/bijuli/"])
        assert.equal((await post(adapter.url + path, { data })).status, 200);
      assert.equal((await getJson(`${adapter.url}/ea/bijuli/health`)).status, "ok");
      assert.equal((await post(adapter.url, { data })).status, 404);
    } finally {
      await adapter.close();
    }
  }
  await reader.stop();
});

test("answers carry security headers, and none that tells what runs here", async () => {
  const reader = await new FixtureReader("HEADERS").start();
  const adapter = await adapterOver([reader]);
  try {
    const { headers } = await post(adapter.url, { data: { meters: ["HEADERS"], lot: LOT.toString() } });
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("cache-control"), "no-store");
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
    assert.equal(headers.get("x-powered-by"), null);
    assert.equal(headers.get("access-control-allow-origin"), null);
  } finally {
    await adapter.close();
    await reader.stop();
  }
});

test("TLS, and mutual TLS that takes only clients with a certificate of the authority", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "bijuli-tls-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
  openssl(
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=authority",
    "-days",
    "2",
  );
  for (const name of ["server", "client"]) {
    openssl(
      "req",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.csr`,
      "-subj",
      `/CN=${name}`,
      "-addext",
      "subjectAltName=IP:127.0.0.1",
    );
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-copy_extensions",
      "copy",
      "-out",
      `${name}.pem`,
      "-days",
      "2",
    );
  }
  const file = (name: string) => readFileSync(join(folder, name));
  const base64 = (name: string) => file(name).toString("base64");
  const reader = await new FixtureReader("TLS").start();
  const keys = {
    TLS_PRIVATE_KEY: base64("server.key"),
    TLS_PUBLIC_KEY: base64("server.pem"),
    TLS_CA: base64("ca.pem"),
  };
  const health = (url: string, client?: { key: Buffer; cert: Buffer }) =>
    new Promise<number>((resolve, reject) => {
      const request = https.get(`${url}/health`, { ca: file("ca.pem"), agent: false, ...client }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on("error", reject);
    });
  try {
    const tls = await adapterOver([reader], { env: { TLS_ENABLED: "true", ...keys } });
    assert.match(tls.url, /^https:/);
    assert.equal(await health(tls.url), 200);
    await tls.close();
    const mtls = await adapterOver([reader], { env: { MTLS_ENABLED: "true", METRICS_PORT: "0", ...keys } });
    await assert.rejects(health(mtls.url));
    // Metrics name the meters: on their own port too they are for those with a certificate only.
    assert.match(mtls.metricsUrl!, /^https:/);
    await assert.rejects(health(new URL(mtls.metricsUrl!).origin));
    assert.equal(await health(mtls.url, { key: file("client.key"), cert: file("client.pem") }), 200);
    await mtls.close();
    await assert.rejects(
      adapterOver([reader], { env: { TLS_ENABLED: "true", ...keys, TLS_PRIVATE_KEY: base64("client.key") } }),
      SettingsError,
    );
  } finally {
    await reader.stop();
  }
});

test("settings that contradict each other are refused, each with its own line", async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ EA_HOST: "0.0.0.0" }, /EA_HOST=0\.0\.0\.0 listens beyond this machine/],
    [{ EA_HOST: "::" }, /EA_HOST/],
    [{ TLS_ENABLED: "true", MTLS_ENABLED: "true" }, /set one of them/],
    [{ TLS_ENABLED: "true" }, /TLS_PRIVATE_KEY and TLS_PUBLIC_KEY/],
    [{ BASE_URL: "adapter" }, /BASE_URL=adapter must start with/],
    [{ BASE_URL: "/a/:id" }, /BASE_URL=\/a\/:id must/],
    [{ BASE_URL: "/a*" }, /BASE_URL=\/a\* must/],
    [{ BASE_URL: "//" }, /BASE_URL=\/\/ must/],
    [{ EA_TOKEN: "two words" }, /EA_TOKEN must be visible ASCII(?!.*two words)/],
    [{ METRICS_PORT: "8081", EA_PORT: "8081" }, /METRICS_PORT=8081 is EA_PORT/],
    [{ POLL_ENABLED: "true", LOT_SECONDS: "2" }, /POLL_DELAY \+ POLL_JITTER = 2300 ms must end within a lot/],
    [
      { LOT_SECONDS: "3", API_TIMEOUT: "3000" },
      /API_TIMEOUT=3000 ms waits for a reader beyond the next lot of 3000 ms/,
    ],
    [{ CACHE_MAX_AGE: "60000" }, /CACHE_MAX_AGE=60000 ms would forget/],
    [{ STALE_SECONDS: "300" }, /STALE_SECONDS=300 makes every meter stale/],
  ];
  const reader = await new FixtureReader("SETTINGS").start();
  for (const [env, message] of cases) {
    assert.throws(
      () => checkSettings(settingsFor([reader], env)),
      (error) => error instanceof SettingsError && message.test(error.message),
      JSON.stringify(env),
    );
  }
  checkSettings(settingsFor([reader], { EA_HOST: "0.0.0.0", EA_TOKEN: "x" }));
  await reader.stop();
});
