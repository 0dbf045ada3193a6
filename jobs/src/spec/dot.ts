import { SpecError } from "./problem.ts";

/** One task of the graph as written. */
export interface DotNode {
  id: string;
  line: number;
  attributes: Record<string, string>;
}

export interface DotGraph {
  nodes: Map<string, DotNode>;
  /** Pairs of (from, to), each once. */
  edges: [string, string][];
}

interface Token {
  kind: "id" | "text" | "punctuation" | "end";
  text: string;
  line: number;
}

const TOKEN =
  /(?<space>\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|#[^\n]*)|(?<id>[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*|-?(?:\.\d+|\d+(?:\.\d*)?))|"(?<quoted>(?:[^"\\]|\\[\s\S])*)"|(?<arrow>->)|(?<mark>[[\]=,;{}])/y;

/**
 * Reads the statements of a DOT digraph: nodes with attributes, and edges. What a Chainlink node's observationSource uses
 * of DOT is all here; subgraphs, ports and undirected edges are refused.
 * @param firstLine the line of the spec's file on which `source` begins
 * @throws SpecError
 */
export function parseDot(source: string, firstLine = 1): DotGraph {
  const tokens = scan(source, firstLine);
  const graph: DotGraph = { nodes: new Map(), edges: [] };
  let at = 0;
  const peek = () => tokens[at]!;
  const isMark = (mark: string) => peek().kind === "punctuation" && peek().text === mark;
  const refuse = (wanted: string): never => {
    const found = peek().kind === "end" ? "the end" : JSON.stringify(peek().text);
    throw new SpecError(peek().line, "observationSource", `expected ${wanted}, found ${found}`);
  };
  const name = (what: string): Token => (peek().kind === "id" || peek().kind === "text" ? tokens[at++]! : refuse(what));

  const attributes = (): Record<string, string> => {
    const found: Record<string, string> = {};
    while (isMark("[")) {
      at++;
      while (!isMark("]")) {
        const key = name("an attribute's name or ]");
        if (!isMark("=")) refuse(`= after ${key.text}`);
        at++;
        found[key.text] = name(`the value of ${key.text}`).text;
        if (isMark(",") || isMark(";")) at++;
      }
      at++;
    }
    return found;
  };
  const node = (token: Token): DotNode => {
    const known = graph.nodes.get(token.text);
    if (known !== undefined) return known;
    const created: DotNode = { id: token.text, line: token.line, attributes: {} };
    graph.nodes.set(token.text, created);
    return created;
  };

  while (peek().kind !== "end") {
    if (isMark(";")) {
      at++;
      continue;
    }
    const first = name("a task");
    // What a DOT file says of the whole graph, as `rankdir=LR` or `node [shape=box]`, says nothing of tasks.
    if (isMark("=")) {
      at++;
      name(`the value of ${first.text}`);
      continue;
    }
    if (first.kind === "id" && /^(graph|node|edge)$/i.test(first.text) && isMark("[")) {
      attributes();
      continue;
    }
    const chain = [first];
    while (isMark("->")) {
      at++;
      chain.push(name("the task after ->"));
    }
    const found = attributes();
    if (chain.length === 1) {
      const declared = node(first);
      if (Object.keys(found).length > 0) declared.line = first.line;
      Object.assign(declared.attributes, found);
      continue;
    }
    for (const [index, token] of chain.entries()) {
      node(token);
      const from = chain[index - 1]?.text;
      if (from === undefined) continue;
      if (!graph.edges.some(([a, b]) => a === from && b === token.text)) graph.edges.push([from, token.text]);
    }
  }
  return graph;
}

function scan(source: string, firstLine: number): Token[] {
  const tokens: Token[] = [];
  let line = firstLine;
  for (let at = 0; at < source.length; ) {
    if (source[at] === "<") {
      const end = closingBracket(source, at, line);
      const inner = source.slice(at + 1, end);
      tokens.push({ kind: "text", text: inner, line });
      line += newlines(inner);
      at = end + 1;
      continue;
    }
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(source);
    if (match === null) {
      const what = source[at] === '"' ? "a text without its closing quote" : JSON.stringify(source[at]);
      throw new SpecError(line, "observationSource", `unexpected ${what}`);
    }
    const { space, id, quoted, arrow, mark } = match.groups!;
    if (id !== undefined) tokens.push({ kind: "id", text: id, line });
    else if (quoted !== undefined) tokens.push({ kind: "text", text: unquote(quoted), line });
    else if (space === undefined) tokens.push({ kind: "punctuation", text: (arrow ?? mark)!, line });
    line += newlines(match[0]);
    at = TOKEN.lastIndex;
  }
  tokens.push({ kind: "end", text: "", line });
  return tokens;
}

/** DOT's texts in angle brackets may hold balanced brackets. */
function closingBracket(source: string, open: number, line: number): number {
  let depth = 0;
  for (let at = open; at < source.length; at++) {
    if (source[at] === "<") depth++;
    if (source[at] === ">" && --depth === 0) return at;
  }
  throw new SpecError(line, "observationSource", "a text without its closing >");
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\n": "",
};

/** Escapes as Go's strconv.Unquote reads them; an unknown one stays as it is. */
function unquote(text: string): string {
  return text.replace(/\\(u[\da-fA-F]{4}|U[\da-fA-F]{8}|x[\da-fA-F]{2}|[\s\S])/g, (whole, escaped: string) => {
    if (escaped.length === 1) return ESCAPES[escaped] ?? whole;
    const point = Number.parseInt(escaped.slice(1), 16);
    return point > 0x10ffff ? whole : String.fromCodePoint(point);
  });
}

function newlines(text: string): number {
  return text.split("\n").length - 1;
}
