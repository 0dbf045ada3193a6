/* The readers of growth.ts in a process of their own: how many meters' readings they sign beforehand is their argument. */
import { startMeters } from "./meters.ts";

process.stdout.write(`${(await startMeters(Number(process.argv[2] ?? "0"))).url}\n`);
