/** The demo's switches as they stand. */
export interface DemoJson {
  /** Watts that are stolen; null where the network replays recordings, which cannot be altered. */
  theft: { line: number; behind: number; watts: number } | null;
  sensors: { serial: string; alterable: boolean; failing: boolean }[];
  readers: { serial: string; running: boolean }[];
  node: { running: boolean };
}

/** One switch thrown. */
export type SwitchJson =
  | { switch: "line" | "behind"; watts: number }
  | { switch: "sensor"; serial: string; failing: boolean }
  | { switch: "reader"; serial: string; running: boolean }
  | { switch: "node"; running: boolean };
