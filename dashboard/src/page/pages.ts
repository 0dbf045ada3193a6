import { useEffect, useState } from "preact/hooks";
import type { Page } from "../server/shapes.ts";
import { ask, useApi } from "./api.ts";

export interface Listed<T> {
  items: T[] | undefined;
  error: string | undefined;
  /** Asks for older ones; undefined at the end. */
  more: (() => void) | undefined;
  asking: boolean;
}

/** The newest page of a list, kept up to date, and the older ones that were asked for. At most so many stay. */
export function usePages<T>(path: string, cursor = "before", key: (item: T) => string, most = 1_000): Listed<T> {
  const first = useApi<Page<T>>(path);
  const [older, setOlder] = useState<{ path: string; items: T[]; next: string | null } | undefined>(undefined);
  const [asking, setAsking] = useState(false);
  const [error, setError] = useState<string | undefined>(undefined);
  useEffect(() => setOlder(undefined), [path]);

  if (first.data === undefined) return { items: undefined, error: first.error, more: undefined, asking: false };
  const mine = older?.path === path ? older : undefined;
  const seen = new Set<string>();
  const items = [...first.data.items, ...(mine?.items ?? [])].filter((item) => {
    const id = key(item);
    return seen.has(id) ? false : seen.add(id);
  });
  const next = mine ? mine.next : first.data.next;
  const more = async () => {
    setAsking(true);
    try {
      const page = await ask<Page<T>>(`${path}${path.includes("?") ? "&" : "?"}${cursor}=${next}`);
      // What was newest when the first older page was asked for may have moved on: it is kept with them.
      const kept = mine?.items ?? first.data!.items;
      setOlder({ path, items: [...kept, ...page.items].slice(-most), next: page.next });
      setError(undefined);
    } catch (failure) {
      setError((failure as Error).message);
    } finally {
      setAsking(false);
    }
  };
  return { items, error: first.error ?? error, more: next === null ? undefined : () => void more(), asking };
}
