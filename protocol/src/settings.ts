import { readFileSync } from "node:fs";
import { z } from "zod";
import { BijuliError, explain } from "./errors.ts";

/** One setting: where its value comes from, what it may be, what it is for. */
export interface Setting {
  /** Parses the environment's text. */
  schema: z.ZodType<unknown, string | undefined>;
  description: string;
  /** Text that stands in when the environment says nothing. */
  default?: string;
  /** Its value never reaches a log, a metric or an error; NAME_FILE may name a file that holds it, as Docker's secrets are. */
  secret?: true;
}

export type Settings = Readonly<Record<string, Setting>>;
export type SettingValues<S extends Settings> = { readonly [K in keyof S]: z.output<S[K]["schema"]> };

/** All that is wrong with a configuration, one line a setting. */
export class SettingsError extends BijuliError {
  override readonly name = "SettingsError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super("bad-settings", problems.join("\n"));
    this.problems = problems;
  }
}

/** One map drives parsing, redaction, --help and the docs' table, so that each setting exists once. */
export function defineSettings<const S extends Settings>(settings: S): S {
  return settings;
}

/**
 * Reads the settings from an environment, once. An empty value counts as absent.
 * @throws SettingsError naming each setting that is missing or wrong, never a secret's value
 */
export function loadSettings<S extends Settings>(settings: S, env: NodeJS.ProcessEnv = process.env): SettingValues<S> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, setting] of Object.entries(settings)) {
    let text: string | undefined;
    try {
      text = given(env, name) ?? secretFromFile(settings, name, env) ?? setting.default;
    } catch (error) {
      problems.push(explain(error));
      continue;
    }
    const parsed = setting.schema.safeParse(text);
    if (parsed.success) {
      values[name] = parsed.data;
    } else if (text === undefined) {
      problems.push(`${name} is missing: ${setting.description}`);
    } else {
      const why = parsed.error.issues
        .map((issue) => [issue.path.join("."), issue.message].filter(Boolean).join(" "))
        .join("; ");
      problems.push(setting.secret ? `${name} (secret) is not valid` : `${name}=${JSON.stringify(text)}: ${why}`);
    }
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return values as SettingValues<S>;
}

const given = (env: NodeJS.ProcessEnv, name: string): string | undefined => (env[name] === "" ? undefined : env[name]);

/**
 * The secret in the file that NAME_FILE names, unless the part has a setting NAME_FILE with rules of its own. Lines are joined,
 * for base64 is wrapped; a file that holds nothing would leave open what it was to lock.
 */
function secretFromFile(settings: Settings, name: string, env: NodeJS.ProcessEnv): string | undefined {
  const path = given(env, `${name}_FILE`);
  if (settings[name]!.secret === undefined || settings[`${name}_FILE`] !== undefined || path === undefined)
    return undefined;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new BijuliError("bad-settings", `${name}_FILE=${JSON.stringify(path)} cannot be read`, { cause: error });
  }
  const secret = text.replace(/\s*\n\s*/g, "").trim();
  if (secret === "") throw new BijuliError("bad-settings", `${name}_FILE=${JSON.stringify(path)} is empty`);
  return secret;
}

/** The settings as text with every secret blanked: for /status and logs. */
export function redactSettings<S extends Settings>(settings: S, values: SettingValues<S>): Record<string, string> {
  const shown: Record<string, string> = {};
  for (const [name, setting] of Object.entries(settings)) {
    const value = values[name];
    if (value === undefined) continue;
    shown[name] = setting.secret
      ? "[secret]"
      : typeof value === "string"
        ? value
        : JSON.stringify(value, (_, v) => (typeof v === "bigint" ? v.toString() : v));
  }
  return shown;
}

/** The settings as a Markdown table, for the docs. */
export function settingsTable(settings: Settings): string {
  const rows = Object.entries(settings).map(
    ([name, s]) =>
      `| \`${name}\` | ${s.default === undefined ? "" : `\`${s.default}\``} | ${s.description}${s.secret ? " (secret)" : ""} |`,
  );
  return ["| setting | default | meaning |", "|---|---|---|", ...rows].join("\n");
}

/** The settings for --help, one line each. */
export function settingsHelp(settings: Settings): string {
  const width = Math.max(...Object.keys(settings).map((name) => name.length));
  return Object.entries(settings)
    .map(([name, s]) => `  ${name.padEnd(width)}  ${s.description}${s.default === undefined ? "" : ` [${s.default}]`}`)
    .join("\n");
}

const text = z.string({ error: "is missing" });

/** Building blocks for schemas that start from text. */
export const from = {
  text: text.min(1),
  optionalText: z.string().min(1).optional(),
  port: text
    .regex(/^[0-9]{1,5}$/, "must be a port from 0 to 65535")
    .transform(Number)
    .pipe(z.int().max(65535, "must be a port from 0 to 65535")),
  integer: (min: number, max: number) =>
    text
      .regex(/^-?[0-9]{1,16}$/, `must be a whole number from ${min} to ${max}`)
      .transform(Number)
      .pipe(z.int().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`)),
  bigint: text.regex(/^[0-9]{1,78}$/, "must be a decimal integer").transform(BigInt),
  flag: text.regex(/^(true|false|1|0)$/i, "must be true or false").transform((value) => /^(true|1)$/i.test(value)),
  choice: <const C extends readonly [string, ...string[]]>(choices: C) =>
    text.pipe(z.enum(choices, `must be one of ${choices.join(", ")}`)),
  address: text
    .regex(/^0x[0-9a-fA-F]{40}$/, "must be an address: 0x and 40 hex digits")
    .transform((value) => value as `0x${string}`),
  privateKey: text
    .regex(/^0x[0-9a-fA-F]{64}$/, "must be a private key: 0x and 64 hex digits")
    .transform((value) => value as `0x${string}`),
  url: text.pipe(z.url({ protocol: /^https?$/, error: "must be an http or https URL" })),
  /** JSON of the given shape. */
  json: <T extends z.ZodType>(shape: T) =>
    text
      .transform((value, context) => {
        try {
          return JSON.parse(value) as unknown;
        } catch {
          context.addIssue({ code: "custom", message: "must be JSON" });
          return z.NEVER;
        }
      })
      .pipe(shape),
};
