import { DoesNotHold } from "./witness.ts";

/*
 * Holds what a file says against what its evidence makes, in the bill's own order, and names the first difference in
 * words that say which meter, lot, event or number it is about.
 */

/** @throws DoesNotHold naming the first thing that the file says otherwise */
export function sameBill(says: unknown, makes: unknown): void {
  compare(says, makes, []);
}

interface Step {
  key: string;
  /** What stands there, for a name. */
  of: unknown;
}

function compare(says: unknown, makes: unknown, path: readonly Step[]): void {
  if (isObject(says) && isObject(makes) && Array.isArray(says) === Array.isArray(makes)) {
    for (const key of new Set([...Object.keys(makes), ...Object.keys(says)])) {
      compare(says[key], makes[key], [...path, { key, of: makes[key] }]);
    }
    return;
  }
  if (says === makes) return;
  throw new DoesNotHold(`${nameOf(path)}: the bill says ${text(says)}; its evidence makes it ${text(makes)}`);
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

function text(value: unknown): string {
  if (value === undefined) return "nothing";
  const json = JSON.stringify(value);
  return json.length > 120 ? `${json.slice(0, 117)}…` : json;
}

/** `lots.3.plants.0.energy` → "lot 5900003, plant meter 0x…, energy". */
function nameOf(path: readonly Step[]): string {
  const words: string[] = [];
  for (let i = 0; i < path.length; i++) {
    const { key } = path[i]!;
    const next = path[i + 1];
    if (next && /^[0-9]+$/.test(next.key) && isObject(next.of)) {
      words.push(identity(key, next.of));
      i++;
    } else {
      words.push(key);
    }
  }
  return words.join(", ");
}

function identity(list: string, of: Record<string, unknown>): string {
  const one = list.replace(/s$/, "");
  if (list === "lots") return `lot ${of.lot}`;
  if (list === "events") return `event ${of.name} of transaction ${of.transaction}`;
  if (list === "transactions") return `transaction ${of.hash}`;
  if (list === "charters") return `charter ${of.index}`;
  if (list === "keys") return `key from lot ${of.fromLot}`;
  return typeof of.meterId === "string" ? `${one} of meter ${of.meterId}` : one;
}
