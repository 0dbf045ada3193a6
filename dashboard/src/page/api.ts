import { useEffect, useRef, useState } from "preact/hooks";

/** What the server said went wrong. */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Asks the API; addresses are relative, for the node serves the page under its own. */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await fetch(path, signal ? { signal } : {});
  const body = (await response.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
  if (!response.ok)
    throw new ApiError(response.status, body?.error?.message ?? `the server answered ${response.status}`);
  return body as T;
}

/** Things that are waiting to hear of a change. */
const listeners = new Set<() => void>();
let stream: EventSource | undefined;
/** While no stream is open, the page asks by itself. */
const POLL_MS = 5_000;
const AT_MOST_EVERY_MS = 1_000;
/** So long without a change on the chain, the page asks whether the chain is still followed, and the meters fresh. */
const QUIET_MS = 15_000;
let told = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

function tell(): void {
  if (timer !== undefined || document.hidden) return;
  timer = setTimeout(
    () => {
      timer = undefined;
      told = Date.now();
      for (const listener of listeners) listener();
    },
    Math.max(0, told + AT_MOST_EVERY_MS - Date.now()),
  );
}

/** Begins to listen for changes; a page that comes back into view asks anew. */
export function listen(): void {
  if (stream) return;
  stream = new EventSource("./api/events");
  stream.addEventListener("changed", tell);
  setInterval(() => {
    if (stream?.readyState !== EventSource.OPEN || Date.now() - told >= QUIET_MS) tell();
  }, POLL_MS);
  document.addEventListener("visibilitychange", tell);
}

export interface Asked<T> {
  data: T | undefined;
  error: string | undefined;
}

/** What the API answers at a path, asked again whenever something changes; undefined: not asked. */
export function useApi<T>(path: string | undefined, live = true): Asked<T> {
  const [state, setState] = useState<{ path: string | undefined } & Asked<T>>({
    path: undefined,
    data: undefined,
    error: undefined,
  });
  const newest = useRef(0);
  useEffect(() => {
    if (path === undefined) return;
    const stop = new AbortController();
    const load = () => {
      const turn = ++newest.current;
      ask<T>(path, stop.signal).then(
        (data) => turn === newest.current && setState({ path, data, error: undefined }),
        (error: Error) =>
          stop.signal.aborted ||
          setState((old) => ({ path, data: old.path === path ? old.data : undefined, error: error.message })),
      );
    };
    load();
    if (live) listeners.add(load);
    return () => {
      stop.abort();
      listeners.delete(load);
    };
  }, [path, live]);
  return state.path === path ? state : { data: undefined, error: undefined };
}
