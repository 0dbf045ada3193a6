// The contracts' functions, events and errors with their NatSpec, read from the sources: what a contract author looks up.
import { readFileSync } from "node:fs";

/** One declaration as it stands in the source, on one line, and what its NatSpec says. */
interface Declaration {
  kind: "function" | "event" | "error";
  name: string;
  text: string;
  notes: string[];
}

/** Declarations of a Solidity file that the outside can reach, in the order of the source. */
function declarationsOf(source: string): Declaration[] {
  const found: Declaration[] = [];
  let notes: string[] = [];
  const lines = source.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at]!.trim();
    if (line.startsWith("///")) {
      notes.push(line.slice(3).trim());
      continue;
    }
    const start = /^(function|event|error)\s+(\w+)\s*\(/.exec(line);
    if (start === null) {
      if (line !== "") notes = [];
      continue;
    }
    let text = line;
    while (!/[;{]/.test(text)) text += ` ${lines[++at]!.trim()}`;
    text = text
      .replace(/\s*[;{].*$/, "")
      .replace(/\(\s+/g, "(")
      .replace(/\s+\)/g, ")")
      .replace(/\s+/g, " ");
    const kind = start[1] as Declaration["kind"];
    if (kind !== "function" || /\b(external|public)\b/.test(text)) {
      found.push({ kind, name: start[2]!, text: text.slice(kind.length + 1), notes: joined(notes) });
    }
    notes = [];
  }
  return found;
}

/** NatSpec's lines as sentences: a tag begins a new one, other lines go on with the one before. */
function joined(lines: string[]): string[] {
  const sentences: string[] = [];
  for (const line of lines) {
    if (line === "" || line.startsWith("@inheritdoc")) continue;
    if (line.startsWith("@") || sentences.length === 0) sentences.push(line);
    else sentences[sentences.length - 1] += ` ${line}`;
  }
  return sentences.map((sentence) =>
    sentence
      .replace(/^@(notice|dev) /, "")
      .replace(/^@(param|return) (\S+) /, (_, tag, name) =>
        tag === "param" ? `\`${name}\`: ` : `returns \`${name}\` `,
      ),
  );
}

const TITLES = { function: "Functions", event: "Events", error: "Errors" } as const;

/**
 * Markdown for a contract from the files that declare its surface.
 * @param title the contract's name
 * @param files paths of Solidity sources
 */
export function contractReference(title: string, files: readonly string[]): string {
  const all = files.flatMap((file) => declarationsOf(readFileSync(file, "utf8")));
  const parts = [`## ${title}`];
  for (const kind of ["function", "event", "error"] as const) {
    // A function stands in the contract and in its interface; either may carry the words.
    const byName = new Map<string, Declaration>();
    for (const declaration of all.filter((one) => one.kind === kind)) {
      const known = byName.get(declaration.name);
      if (known === undefined) byName.set(declaration.name, declaration);
      else if (known.notes.length === 0) known.notes = declaration.notes;
    }
    const rows = [...byName.values()].map(
      ({ text, notes }) => `- \`${text}\`${notes.length > 0 ? `\n  ${notes.join("\n  ")}` : ""}`,
    );
    if (rows.length > 0) parts.push(`### ${TITLES[kind]} of ${title}`, rows.join("\n"));
  }
  return parts.join("\n\n");
}
