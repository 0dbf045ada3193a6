/**
 * An error that helps: a short message that names the meter, lot or request, and what to do about it.
 * The style is viem's BaseError: one line to read, a walkable `cause` for the rest.
 */
export class BijuliError extends Error {
  override readonly name: string = "BijuliError";
  /** A stable word for programs: "bad-serial", "bad-record", … */
  readonly code: string;
  /** What the reader of the message can do. */
  readonly remedy: string | undefined;

  constructor(code: string, message: string, options: { remedy?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.remedy = options.remedy;
  }
}

/** Exit codes of every command: 75 is sysexits' EX_TEMPFAIL, for what may succeed when tried again. */
export const ExitCode = { OK: 0, FATAL: 1, USAGE: 2, TEMPORARY: 75 } as const;

/** The message of anything thrown, with those of its causes, on one line: for logs, runs and terminals. */
export function explain(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && at !== null && parts.length < 6; ) {
    const message = at instanceof Error ? at.message : String(at);
    if (message !== "" && !parts.some((part) => part.includes(message))) parts.push(message);
    at = at instanceof Error ? at.cause : undefined;
  }
  const remedy = error instanceof BijuliError && error.remedy ? ` (${error.remedy})` : "";
  return parts.join(": ").replaceAll("\n", " ") + remedy;
}
