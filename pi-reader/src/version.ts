import { readFileSync } from "node:fs";

/** The package's version, as /identity and /health show it. */
export const version: string = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version;
