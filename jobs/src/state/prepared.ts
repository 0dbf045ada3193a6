import type pg from "pg";

/** More than all statements that BullMQ has; texts without end would be prepared without end. */
const MOST_NAMES = 300;

const names = new Map<string, string>();
let named = 0;

/**
 * Runs a statement under a name, by which each connection parses and plans it once. For the queue's, which call functions:
 * a plan of the state's own statements would stay what it was while the tables were small.
 */
export async function runPrepared(
  run: (query: pg.QueryConfig) => Promise<pg.QueryResult>,
  text: string,
  values: unknown[],
): Promise<pg.QueryResult> {
  let name = names.get(text);
  if (name === undefined && named < MOST_NAMES && values.length > 0) {
    name = `bijuli_${named++}`;
    names.set(text, name);
  }
  try {
    return await run(name === undefined ? { text, values } : { name, text, values });
  } catch (error) {
    if (name === undefined || !isOutdated(error)) throw error;
    names.delete(text);
    return await run({ text, values });
  }
}

/**
 * Whether the server refused a prepared statement because what it gives has other columns by now: another process has brought
 * the schema up to date. Nothing was done then.
 */
function isOutdated(error: unknown): boolean {
  const { code, message } = error as pg.DatabaseError;
  return code === "0A000" && message.includes("cached plan");
}

/** Has a pool prepare what it is asked by itself; its clients do not. */
export function preparing(pool: pg.Pool): pg.Pool {
  const run = pool.query.bind(pool) as (query: pg.QueryConfig) => Promise<pg.QueryResult>;
  const query = (text: string, values: unknown[] = []) => runPrepared(run, text, values);
  return Object.assign(pool, { query });
}
