/** Why a condition of the contracts never comes out one way in the tests. */
export interface Note {
  file: string;
  condition: string;
  /** The outcome that is not reached. */
  outcome: "true" | "false" | "either";
  why: string;
}

export const NOTES: readonly Note[] = [];
