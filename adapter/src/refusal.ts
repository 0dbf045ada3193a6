import { BijuliError } from "@bijuli/protocol";

/** The statuses that a request may be refused with, and what a Chainlink node makes of them: it retries 5xx only. */
export type RefusalStatus = 400 | 401 | 404 | 413 | 500 | 502 | 503 | 504;

/**
 * A request that cannot be answered, or a meter that cannot be read: the status, the cause in words, and when to come
 * back. Permanent refusals are 4xx; whatever may succeed later is 5xx (a Chainlink node retries nothing else).
 */
export class Refusal extends BijuliError {
  override readonly name = "Refusal";
  readonly status: RefusalStatus;
  /** Real seconds after which it is worth asking again. */
  readonly retryAfter: number | undefined;

  constructor(
    status: RefusalStatus,
    code: string,
    message: string,
    options: { retryAfter?: number | undefined; cause?: unknown } = {},
  ) {
    super(code, message, { cause: options.cause });
    this.status = status;
    this.retryAfter = options.retryAfter;
  }

  /** The name in an answer's `error`: "lot-open" becomes "LotOpen". */
  get answerName(): string {
    return this.code.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
  }
}

export const badInput = (message: string): Refusal => new Refusal(400, "bad-input", message);

/** What anything thrown becomes in an answer: a bug says that it is one, without its internals. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal(500, "internal-error", "the adapter failed on this request; its log says why", { cause: error });
}
