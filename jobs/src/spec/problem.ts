import { BijuliError } from "@bijuli/protocol";

/** What is wrong with a job spec: the line (from 1, in its file) and the field that it is about. */
export class SpecError extends BijuliError {
  override readonly name = "SpecError";
  readonly line: number;
  readonly field: string;
  readonly problem: string;

  constructor(line: number, field: string, problem: string, cause?: unknown) {
    super("bad-spec", `line ${line}, ${field}: ${problem}`, { cause });
    this.line = line;
    this.field = field;
    this.problem = problem;
  }

  /** The same problem, told of a file. */
  inFile(file: string): BijuliError {
    return new BijuliError("bad-spec", `${file}:${this.line}: ${this.field}: ${this.problem}`, { cause: this.cause });
  }
}
