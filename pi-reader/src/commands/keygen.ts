import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { BijuliError, ExitCode, type Hex } from "@bijuli/protocol";
import { readPassword } from "../keyFile.ts";
import { encryptKey } from "../keystore.ts";
import { keySigner } from "../signer.ts";
import { type Command, usageError } from "./command.ts";

export const keygen: Command = {
  help: `keygen [--out FILE [--password-file FILE]]: makes a meter's key

  --out FILE            writes the private key there, readable by its owner only, and prints the address alone;
                        without it both go to stdout as JSON
  --password-file FILE  encrypts it with the password on that file's first line, as a keystore (Web3 Secret Storage 3)
A file that exists is never overwritten.
`,
  async run(args) {
    const { values } = parseArgs({
      args,
      options: { out: { type: "string" }, "password-file": { type: "string" } },
      strict: true,
    });
    const { out, "password-file": passwordFile } = values;
    if (out === undefined && passwordFile !== undefined) throw usageError("--password-file needs --out");
    const privateKey = `0x${randomBytes(32).toString("hex")}` as Hex;
    const { address } = keySigner(privateKey);
    if (out === undefined) {
      console.log(JSON.stringify({ signer: address, privateKey }));
      return ExitCode.OK;
    }
    const password = passwordFile === undefined ? undefined : readPassword(passwordFile);
    if (password === "") throw new BijuliError("bad-key", `the password in ${passwordFile} is empty`);
    const text = password === undefined ? privateKey : encryptKey(privateKey, password);
    try {
      writeFileSync(out, `${text}\n`, { mode: 0o600, flag: "wx" });
    } catch (cause) {
      const exists = (cause as NodeJS.ErrnoException).code === "EEXIST";
      throw new BijuliError(
        "bad-key",
        `${out} ${exists ? "exists: a key is never overwritten" : "cannot be written"}`,
        {
          cause: exists ? undefined : cause,
        },
      );
    }
    console.log(JSON.stringify({ signer: address }));
    return ExitCode.OK;
  },
};
