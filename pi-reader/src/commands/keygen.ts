import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, type Hex } from "@bijuli/protocol";
import { keySigner } from "../signer.ts";
import type { Command } from "./command.ts";

export const keygen: Command = {
  help: `keygen [--out FILE]: makes a meter's key

  --out FILE  writes the private key there, readable by its owner only, and prints the address alone;
              without it both go to stdout as JSON
A file that exists is never overwritten.
`,
  async run(args) {
    const { values } = parseArgs({ args, options: { out: { type: "string" } }, strict: true });
    const privateKey = `0x${randomBytes(32).toString("hex")}` as Hex;
    const { address } = keySigner(privateKey);
    if (values.out === undefined) {
      console.log(JSON.stringify({ signer: address, privateKey }));
      return ExitCode.OK;
    }
    try {
      writeFileSync(values.out, `${privateKey}\n`, { mode: 0o600, flag: "wx" });
    } catch (cause) {
      const exists = (cause as NodeJS.ErrnoException).code === "EEXIST";
      throw new BijuliError(
        "bad-key",
        `${values.out} ${exists ? "exists: a key is never overwritten" : "cannot be written"}`,
        {
          cause: exists ? undefined : cause,
        },
      );
    }
    console.log(JSON.stringify({ signer: address }));
    return ExitCode.OK;
  },
};
