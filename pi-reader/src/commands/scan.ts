import { parseArgs } from "node:util";
import { ExitCode } from "@bijuli/protocol";
import { hexAddress } from "../sensors/bus.ts";
import { openLinuxBus } from "../sensors/linuxBus.ts";
import { scan as scanBus } from "../sensors/scan.ts";
import { type Command, usageError } from "./command.ts";

export const scan: Command = {
  help: `scan [--bus N]: looks for sensors on /dev/i2c-N [1] and prints one line of JSON for each; only reads
`,
  async run(args) {
    const { values } = parseArgs({ args, options: { bus: { type: "string", default: "1" } }, strict: true });
    if (!/^[0-9]{1,3}$/.test(values.bus)) throw usageError(`--bus ${values.bus} is not a bus number`);
    const bus = await openLinuxBus(Number(values.bus));
    try {
      const found = await scanBus(bus);
      if (found.length === 0) process.stderr.write(`no known sensor answers on ${bus.name}\n`);
      for (const { address, kind, certain } of found) {
        console.log(JSON.stringify({ bus: Number(values.bus), address: hexAddress(address), kind, certain }));
      }
    } finally {
      await bus.close();
    }
    return ExitCode.OK;
  },
};
