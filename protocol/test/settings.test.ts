import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  defineSettings,
  from,
  loadSettings,
  redactSettings,
  SettingsError,
  settingsHelp,
  settingsTable,
} from "@bijuli/protocol";
import { z } from "zod";

const settings = defineSettings({
  PORT: { schema: from.port, default: "8080", description: "where to listen" },
  KEY: { schema: from.privateKey, description: "signing key", secret: true },
  READERS: { schema: from.json(z.array(z.strictObject({ url: z.string() }))), default: "[]", description: "readers" },
  TLS: { schema: from.flag, default: "false", description: "serve over TLS" },
});
const KEY = `0x${"12".repeat(32)}`;

describe("settings", () => {
  it("are parsed, defaulted and typed", () => {
    assert.deepEqual(loadSettings(settings, { KEY, TLS: "1", PORT: "" }), { PORT: 8080, KEY, READERS: [], TLS: true });
  });

  it("fail loudly, each problem once, and never show a secret", () => {
    const env = { PORT: "70000", KEY: "0xsecret", READERS: '[{"uri":"x"}]', TLS: "maybe" };
    assert.throws(
      () => loadSettings(settings, env),
      (error: unknown) => {
        assert.ok(error instanceof SettingsError);
        assert.equal(error.problems.length, 4);
        assert.ok(!error.message.includes("0xsecret"));
        assert.match(error.message, /PORT="70000": must be a port/);
        return true;
      },
    );
    assert.throws(() => loadSettings(settings, {}), /KEY is missing: signing key/);
  });

  it("take a secret from a file, as containers have them, and no other setting", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "bijuli-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, "key");
    writeFileSync(file, `${KEY}\n`);
    assert.equal(loadSettings(settings, { KEY_FILE: file, PORT_FILE: file }).KEY, KEY);
    assert.equal(loadSettings(settings, { KEY_FILE: file, PORT_FILE: file }).PORT, 8080);
    // What is said outright goes first.
    assert.equal(loadSettings(settings, { KEY, KEY_FILE: join(folder, "none") }).KEY, KEY);
    assert.throws(() => loadSettings(settings, { KEY_FILE: join(folder, "none") }), /KEY_FILE=".*none" cannot be read/);
    writeFileSync(file, `\n${KEY.slice(0, 20)}\r\n${KEY.slice(20)}\n`);
    assert.equal(loadSettings(settings, { KEY_FILE: file }).KEY, KEY);
    writeFileSync(file, " \n\n");
    assert.throws(() => loadSettings(settings, { KEY_FILE: file }), /KEY_FILE=".*" is empty$/);
    writeFileSync(file, "no key\n");
    assert.throws(() => loadSettings(settings, { KEY_FILE: file }), /^SettingsError: KEY \(secret\) is not valid$/);
  });

  it("are shown without their secrets", () => {
    const shown = redactSettings(settings, loadSettings(settings, { KEY }));
    assert.equal(shown.KEY, "[secret]");
    assert.equal(shown.PORT, "8080");
    assert.match(settingsTable(settings), /\| `PORT` \| `8080` \| where to listen \|/);
    assert.match(settingsHelp(settings), /KEY +signing key/);
  });
});
