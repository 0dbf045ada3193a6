// `node contracts/proof/prove.ts`: proves the theorems of ClearingMathProof.sol about ClearingMath.sol with the
// SMTChecker and z3 inside solc-js; exit code 1 when one of them is not proved.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const solc: { compile(input: string): string } = createRequire(import.meta.url)("solc");

const LIBRARY = "src/libraries/ClearingMath.sol";
const THEOREMS = "proof/ClearingMathProof.sol";
const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

/** Where the solver meets divisions: by their defining inequalities, or as a function of their operands. */
type Division = "inequalities" | "function";

/** The contracts of ClearingMathProof.sol, and what each of them needs. */
export const theorems: Readonly<Record<string, Division>> = {
  Ranges: "inequalities",
  Sums: "inequalities",
  Rounding: "inequalities",
  Monotone: "inequalities",
  Composition: "function",
};

interface Diagnostic {
  severity: "error" | "warning" | "info";
  errorCode?: string;
  message: string;
  formattedMessage: string;
  sourceLocation?: { file: string; start: number; end: number };
}

export interface Proof {
  contract: string;
  /** `assert`s of the contract that hold. */
  asserts: number;
  /** Overflows, underflows and divisions by zero that cannot happen, in the library and in what the theorems say. */
  operations: number;
  /** Those of them in the library, by place: each counts once, however often it is inlined. */
  libraryOperations: number;
  /** What is not proved, as the compiler words it. */
  unproved: string[];
  seconds: number;
}

/**
 * The library as the solver sees it: without `unchecked`, so that every operation is a target and its result the
 * integer itself. Where no operation overflows, both mean the same.
 */
export function opened(source: string): string {
  return source.replaceAll(/\bunchecked\s*\{/g, "{");
}

/**
 * Proves one contract of theorems.
 * @param library the text of ClearingMath.sol, or of a mutant of it
 */
export function prove(contract: string, library: string = read(LIBRARY)): Proof {
  const began = performance.now();
  const text = read(THEOREMS);
  const output = solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: { [LIBRARY]: { content: opened(library) }, [THEOREMS]: { content: text } },
      settings: {
        // No `timeout`: z3 then works by a fixed amount of work, so that the same source gives the same answer anywhere.
        modelChecker: {
          contracts: { [THEOREMS]: [contract] },
          engine: "bmc",
          targets: ["assert", "overflow", "underflow", "divByZero"],
          divModNoSlacks: theorems[contract] === "function",
          showProvedSafe: true,
          showUnproved: true,
          solvers: ["z3"],
        },
      },
    }),
  );
  const diagnostics: Diagnostic[] = JSON.parse(output).errors ?? [];
  const unproved = diagnostics.filter(({ severity }) => severity !== "info").map((d) => d.formattedMessage.trim());
  const safe = diagnostics.filter(({ errorCode }) => errorCode === "2961");

  // A theorem that the checker never came to is not proved either (its solver missing, say).
  const asserted = new Set<number>();
  const bytes = Buffer.from(text).toString("latin1"); // the compiler counts bytes
  const body = bytes.indexOf(`\ncontract ${contract} `);
  const end = bytes.indexOf("\n}\n", body);
  for (const match of bytes.slice(body, end).matchAll(/\bassert\(/g)) asserted.add(body + match.index);
  const held = new Set<number>();
  let operations = 0;
  const inLibrary = new Set<string>();
  for (const { message, sourceLocation: at } of safe) {
    if (message.includes("Assertion violation")) {
      if (at?.file === THEOREMS) held.add(at.start);
      continue;
    }
    operations++;
    if (at?.file === LIBRARY) inLibrary.add(`${at.start}-${at.end} ${message}`);
  }
  for (const start of asserted) {
    if (!held.has(start) && unproved.length === 0) {
      unproved.push(`not reached: ${bytes.slice(start, bytes.indexOf("\n", start))}`);
    }
  }
  return {
    contract,
    asserts: held.size,
    operations,
    libraryOperations: inLibrary.size,
    unproved,
    seconds: (performance.now() - began) / 1000,
  };
}

if (import.meta.main) {
  let failed = false;
  for (const contract of Object.keys(theorems)) {
    const { asserts, operations, libraryOperations, unproved, seconds } = prove(contract);
    process.stdout.write(
      `${unproved.length === 0 ? "✔" : "✖"} ${contract}: ${asserts} assertions, ${operations} operations ` +
        `(${libraryOperations} of the library's), ${unproved.length} unproved, ${seconds.toFixed(1)} s\n`,
    );
    for (const text of unproved) process.stdout.write(`${text}\n`);
    failed ||= unproved.length > 0;
  }
  process.exitCode = failed ? 1 : 0;
}
