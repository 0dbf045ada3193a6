import type { Listed } from "./pages.ts";

/** Asks a list for its older part. */
export function More<T>({ list, what }: { list: Listed<T>; what: string }) {
  if (list.more === undefined) return null;
  return (
    <p class="more">
      <button type="button" onClick={list.more} disabled={list.asking}>
        {list.asking ? "Reading …" : `Older ${what}`}
      </button>
    </p>
  );
}
