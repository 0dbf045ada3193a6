// `npm start`: a whole network on one machine. See HELP in start/options.ts.

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { BijuliError, ExitCode, explain } from "@bijuli/protocol";
import { compileContracts } from "./start/compile.ts";
import { follow } from "./start/follow.ts";
import { readGrid } from "./start/grid.ts";
import { introduce } from "./start/introduce.ts";
import { Network } from "./start/network.ts";
import { HELP, type Options, parseOptions } from "./start/options.ts";
import { requireFree } from "./start/ports.ts";
import { describeLot } from "./start/print.ts";
import { checkLots, checkRecordings } from "./start/recordings.ts";

const SIMULATED = fileURLToPath(new URL("./start/simulated.grid.json", import.meta.url));

const say = (text: string) => process.stderr.write(`${text}\n`);

/** Everything that can be refused is refused here, before anything is started. */
async function check(options: Options) {
  // npm runs scripts in the project's folder; a path is meant from where the user stands.
  const here = process.env.INIT_CWD ?? process.cwd();
  const grid = readGrid(options.grid === undefined ? SIMULATED : resolve(here, options.grid));
  const span = checkRecordings(grid);
  if (options.lots !== undefined) checkLots(grid, options.lots, span);
  await requireFree(options.port, "--port");
  if (options.rpcPort !== undefined) await requireFree(options.rpcPort, "--rpc-port");
  return { grid, span };
}

async function main(options: Options): Promise<void> {
  const { grid, span } = await check(options);
  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`.padStart(7);
  const progress = (message: string) => say(`${seconds()}  ${message}`);

  // The first Ctrl-C stops the network in good order; a second one is answered by the same stop.
  const interrupted = new Promise<"interrupted">((done) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => done("interrupted"));
  });

  let network: Network | undefined;
  try {
    progress("compiling the contracts, where they changed");
    const compiling = new AbortController();
    if ((await Promise.race([compileContracts(compiling.signal), interrupted])) === "interrupted") {
      compiling.abort();
      return;
    }
    network = new Network({
      grid,
      dir: resolve(options.dir),
      // A simulation begins on a lot's start, so that its first lot is whole.
      originMs: span.originMs ?? Math.floor(Date.now() / (1000 * grid.lotSeconds)) * 1000 * grid.lotSeconds,
      speed: options.speed,
      lots: options.lots,
      rpcPort: options.rpcPort,
      pagePort: options.port,
      queueUrl: process.env.QUEUE_URL,
      progress,
    });
    if ((await Promise.race([network.setUp(), interrupted, network.failed])) === "interrupted") return;
    network.run();
    const lots = follow(network, grid, {
      lots: options.lots,
      lastLot: span.lots,
      onLot: (line) => {
        process.stdout.write(options.json ? `${JSON.stringify(line)}\n` : `${describeLot(line, grid.lotSeconds)}\n`);
      },
    });
    // The page starts while the first lot is measured; a network whose page fails fails with it.
    const running = network.page.then((address) => {
      progress(`running at ${options.speed} times real time; the page is at ${address}`);
      say(introduce(grid, network!.links, network!.readers));
    });
    const outcome = await Promise.race([
      Promise.all([lots.done, running]).then(([done]) => done),
      interrupted,
      network.failed,
    ]);
    lots.stop();
    if (outcome !== "interrupted") progress(outcome);
  } finally {
    say(`${seconds()}  stopping`);
    await network?.stop();
  }
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) process.stdout.write(HELP);
  else await main(options);
  process.exitCode = ExitCode.OK;
} catch (error) {
  say(`bijuli: ${explain(error)}`);
  const usage =
    error instanceof BijuliError && ["bad-option", "bad-grid", "bad-recording", "port-in-use"].includes(error.code);
  process.exitCode = usage ? ExitCode.USAGE : ExitCode.FATAL;
}
// Sockets kept alive and timers of libraries must not hold a stopped network open.
process.exit();
