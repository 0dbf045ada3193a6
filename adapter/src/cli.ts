#!/usr/bin/env node
/*
 * Whatever imports node:http as an ES module is handed each of its exports, and for these Node loads an HTTP client of its
 * own: 8 MB of which the adapter uses nothing. So they go, before anything is imported.
 */
const http = process.getBuiltinModule("node:http") as unknown as Record<string, unknown>;
for (const name of ["WebSocket", "CloseEvent", "MessageEvent"]) delete http[name];

const { main } = await import("./command.ts");
process.exitCode = await main(process.argv.slice(2));
if (process.exitCode !== 0) process.exit();
