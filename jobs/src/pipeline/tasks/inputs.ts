import { badInput, type Value } from "../value.ts";

/** Refuses to go on when a task before this one failed. */
export function noFailedInputs(inputs: readonly Value[]): void {
  for (const value of inputs) if (value instanceof Error) throw badInput("an input failed", value);
}
