import { useEffect, useState } from "preact/hooks";

/** A place in the page: #/view/argument/argument. */
export interface Place {
  view: string;
  rest: string[];
}

/** An address that somebody broke leads somewhere: what is no encoding is taken as it stands. */
const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
};

const read = (): Place => {
  const [view = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  return { view: view || "network", rest: rest.filter((part) => part !== "") };
};

/** Where the page is; a change of view begins at its top, with its heading in focus. */
export function usePlace(): Place {
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const moved = () => {
      setPlace(read());
      scrollTo(0, 0);
      requestAnimationFrame(() => document.querySelector("h1")?.focus());
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return place;
}

export const link = (view: string, ...rest: (string | number)[]): string =>
  `#/${[view, ...rest].map((part) => encodeURIComponent(String(part))).join("/")}`;
