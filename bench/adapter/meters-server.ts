/* The readers of growth.ts in a process of their own. */
import { startMeters } from "./meters.ts";

process.stdout.write(`${(await startMeters()).url}\n`);
