import { createRequire } from "node:module";

/*
 * Probes in Solidity sources: every condition that the code branches on is wrapped in a call that tells a test chain how it
 * came out. Conditions are found in the compiler's own syntax tree, in inline assembly too, so none is overlooked.
 */

const solc: { compile(input: string, callbacks: { import(path: string): object }): string } = createRequire(
  import.meta.url,
)("solc");

/** One condition. */
export interface Branch {
  file: string;
  line: number;
  /** As it stands in the source, on one line. */
  condition: string;
}

interface Node {
  nodeType?: string;
  src?: string;
  operator?: string;
  [key: string]: unknown;
}

/** Where EDR listens. */
const LISTENER = "0xc0bEc0BEc0BeC0bEC0beC0bEC0bEC0beC0beC0BE";
const IN_ASSEMBLY = `function probed__(id, value) -> same { same := value mstore(0, add(shl(1, id), iszero(iszero(value)))) pop(staticcall(gas(), ${LISTENER}, 0, 32, 0, 0)) }`;

/** The library that the probes of a source call: only scratch memory is touched, in which nothing lasts. */
export const PROBE = `// SPDX-License-Identifier: MIT
pragma solidity >=0.8.0;
library Probe {
  function b(uint256 id, bool value) internal pure returns (bool) {
    _pure(_send)((id << 1) | (value ? 1 : 0));
    return value;
  }
  function _send(uint256 tag) private view {
    assembly ("memory-safe") { mstore(0, tag) pop(staticcall(gas(), ${LISTENER}, 0, 32, 0, 0)) }
  }
  function _pure(function(uint256) internal view f) private pure returns (function(uint256) internal pure g) {
    assembly { g := f }
  }
}
`;

/**
 * @param sources path below `src/` → text; all that is to be measured
 * @param find what an import that is none of these stands for
 * @returns the sources with probes, and what each probe's number stands for
 */
export function withProbes(
  sources: Record<string, string>,
  find: (path: string) => object,
): { sources: Record<string, string>; branches: Branch[] } {
  const branches: Branch[] = [];
  const probed: Record<string, string> = {};
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: "Solidity",
        sources: Object.fromEntries(Object.entries(sources).map(([file, content]) => [`src/${file}`, { content }])),
        settings: { outputSelection: { "*": { "": ["ast"] } } },
      }),
      { import: find },
    ),
  );
  for (const [file, text] of Object.entries(sources)) {
    const bytes = Buffer.from(text);
    const insertions: { at: number; order: number; text: string }[] = [];
    const wrap = (node: Node, inAssembly: boolean) => {
      const [start, length] = (node.src as string).split(":").map(Number) as [number, number];
      const id = branches.length;
      const condition = bytes
        .subarray(start, start + length)
        .toString()
        .replace(/\s+/g, " ");
      branches.push({ file, line: bytes.subarray(0, start).toString().split("\n").length, condition });
      insertions.push({ at: start, order: id, text: inAssembly ? `probed__(${id}, ` : `Probe.b(${id}, ` });
      insertions.push({ at: start + length, order: -id, text: ")" });
    };
    const visit = (node: unknown): void => {
      if (Array.isArray(node)) {
        for (const one of node) visit(one);
        return;
      }
      if (node === null || typeof node !== "object") return;
      const { nodeType, operator } = node as Node;
      const part = (name: string) => (node as Record<string, Node>)[name];
      if (
        ["IfStatement", "WhileStatement", "DoWhileStatement", "ForStatement", "Conditional"].includes(nodeType ?? "")
      ) {
        if (part("condition")) wrap(part("condition")!, false);
      } else if (nodeType === "BinaryOperation" && (operator === "&&" || operator === "||")) {
        wrap(part("leftExpression")!, false);
        wrap(part("rightExpression")!, false);
      } else if (nodeType === "YulIf" || nodeType === "YulForLoop") {
        wrap(part("condition")!, true);
      } else if (nodeType === "YulSwitch") {
        wrap(part("expression")!, true);
      } else if (nodeType === "InlineAssembly") {
        const before = insertions.length;
        Object.values(node).forEach(visit);
        const [start] = (part("AST")!.src as string).split(":").map(Number) as [number];
        if (insertions.length > before) insertions.push({ at: start + 1, order: -1e9, text: ` ${IN_ASSEMBLY}` });
        return;
      }
      Object.values(node).forEach(visit);
    };
    visit(output.sources[`src/${file}`]?.ast);
    if (insertions.length === 0) {
      probed[file] = text.replace(/\bpure\b/g, "view");
      continue;
    }
    // inner ones close first, and open last
    insertions.sort((a, b) => a.at - b.at || Number(a.text !== ")") - Number(b.text !== ")") || a.order - b.order);
    let result = "";
    let from = 0;
    for (const { at, text: inserted } of insertions) {
      result += bytes.subarray(from, at).toString() + inserted;
      from = at;
    }
    result += bytes.subarray(from).toString();
    // a probe in assembly reads its surroundings
    result = result.replace(/\bpure\b/g, "view");
    const up = file.includes("/") ? "../".repeat(file.split("/").length - 1) : "./";
    probed[file] = result.replace(/^(pragma solidity [^;]+;)/m, `$1 import {Probe} from "${up}Probe.sol";`);
  }
  return { sources: probed, branches };
}
