import type { Hex } from "@bijuli/protocol";
import type { Artifact } from "./artifacts.ts";

/** A library's code begins with PUSH20 and its own address, by which it knows that it was called and not delegated to. */
const LIBRARY_START = `73${"00".repeat(20)}3014`;

/** An artifact's creation code with its libraries' addresses in their places. */
export function linkedBytecode(artifact: Artifact, libraries: Readonly<Record<string, string>>): string {
  return link(artifact.bytecode, artifact.linkReferences, libraries);
}

/**
 * Whether the code on a chain is what the artifact says: byte for byte, but for the immutables' values, which the
 * constructor wrote, and a library's own address.
 * @param code from eth_getCode
 * @param libraries name → address, of those that the contract is linked with
 */
export function isRuntimeOf(artifact: Artifact, code: string, libraries: Readonly<Record<string, string>>): boolean {
  if (code.length !== artifact.deployedBytecode.length) return false;
  const expected = link(artifact.deployedBytecode, artifact.deployedLinkReferences, libraries);
  return masked(artifact, expected) === masked(artifact, code);
}

/** The distinct values that the immutables have in a contract's code, as 32 byte words. */
export function immutablesIn(artifact: Artifact, code: string): Hex[] {
  const places = Object.values(artifact.immutableReferences).flat();
  return [...new Set(places.map(({ start, length }) => `0x${slice(code, start, length).toLowerCase()}` as Hex))];
}

function masked(artifact: Artifact, code: string): string {
  let text = code.toLowerCase();
  for (const { start, length } of Object.values(artifact.immutableReferences).flat()) {
    text = replace(text, start, "00".repeat(length));
  }
  if (artifact.deployedBytecode.startsWith(`0x${LIBRARY_START}`)) text = replace(text, 1, "00".repeat(20));
  return text;
}

function link(
  code: string,
  references: Artifact["linkReferences"],
  libraries: Readonly<Record<string, string>>,
): string {
  let text = code;
  for (const names of Object.values(references)) {
    for (const [name, places] of Object.entries(names)) {
      const address = libraries[name]?.slice(2).toLowerCase() ?? "00".repeat(20);
      for (const { start } of places) text = replace(text, start, address);
    }
  }
  return text;
}

const slice = (code: string, start: number, length: number) => code.slice(2 + 2 * start, 2 + 2 * (start + length));

function replace(code: string, start: number, digits: string): string {
  const at = 2 + 2 * start;
  return code.slice(0, at) + digits + code.slice(at + digits.length);
}
