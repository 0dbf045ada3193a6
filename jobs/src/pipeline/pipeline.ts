import { BijuliError } from "@bijuli/protocol";
import type { DotGraph } from "../spec/dot.ts";
import { parseDuration } from "../spec/duration.ts";
import { SpecError } from "../spec/problem.ts";
import { COMMON_ATTRIBUTES, type TaskType } from "./task.ts";
import { taskTypes } from "./tasks/index.ts";
import { variablesIn } from "./variables.ts";

/** One task, ready to run. */
export interface PipelineTask {
  id: string;
  type: string;
  behaviour: TaskType;
  attributes: Readonly<Record<string, string>>;
  /** Position in the results of the tasks that it feeds. */
  index: number;
  /** ms; undefined: the type's own default; 0: none. */
  timeoutMs: number | undefined;
  failEarly: boolean;
  /** Attempts in all, as Chainlink's scheduler counts them; 0 is 1. */
  retries: number;
  minBackoffMs: number;
  maxBackoffMs: number;
  /** The tasks whose results it gets, by an edge. */
  inputs: readonly string[];
  /** The tasks that it waits for besides: an attribute names their result, and no edge does (Chainlink's implicit edges, graph.go). */
  awaits: readonly string[];
  /** The tasks that get its result, or wait for it. */
  outputs: readonly string[];
  /** Attributes that mean nothing to its type, here and on a Chainlink node. */
  ignored: readonly string[];
}

/** A job's tasks in an order in which each stands behind those it needs. */
export type Pipeline = readonly PipelineTask[];

/**
 * Checks a graph and sorts it.
 * @throws SpecError with the line and the task's field
 */
export function buildPipeline(graph: DotGraph, line: number): Pipeline {
  if (graph.nodes.size === 0) throw new SpecError(line, "observationSource", "no tasks");
  const tasks = new Map<string, PipelineTask>();
  const named = namedTasks(graph);
  for (const node of graph.nodes.values()) {
    const field = (name: string) => `observationSource, task ${node.id}, ${name}`;
    if (node.id === "input") throw new SpecError(node.line, field("name"), "'input' is a reserved word");
    const type = node.attributes.type;
    if (type === undefined) throw new SpecError(node.line, field("type"), "missing");
    const behaviour = taskTypes[type.toLowerCase()];
    if (behaviour === undefined)
      throw new SpecError(node.line, field("type"), `unknown task type ${JSON.stringify(type)}`);
    const { attributes, ignored } = understood(node.attributes, [...COMMON_ATTRIBUTES, ...behaviour.attributes]);
    for (const name of behaviour.required ?? []) {
      if ((attributes[name] ?? "").trim() === "") throw new SpecError(node.line, field(name), "missing");
    }
    const inputs = graph.edges.filter(([, to]) => to === node.id).map(([from]) => from);
    const outputs = [...graph.edges, ...named].filter(([from]) => from === node.id).map(([, to]) => to);
    try {
      behaviour.check?.(attributes, outputs);
    } catch (cause) {
      throw new SpecError(node.line, field(type), cause instanceof Error ? cause.message : String(cause), cause);
    }
    const limits = behaviour.inputs;
    if (limits !== undefined && inputs.length > limits.max) {
      throw new SpecError(node.line, field("inputs"), `${type} takes at most ${limits.max}, here are ${inputs.length}`);
    }
    const duration = (name: string): number | undefined => {
      const text = attributes[name];
      if (text === undefined) return undefined;
      const parsed = parseDuration(text);
      if (parsed === undefined)
        throw new SpecError(node.line, field(name), `${JSON.stringify(text)} is not a duration`);
      return parsed;
    };
    const integer = (name: string, max: number, min = 0): number => {
      const text = attributes[name] || "0";
      if (!/^[+-]?\d+$/.test(text) || Number(text) > max || Number(text) < min) {
        throw new SpecError(node.line, field(name), `${JSON.stringify(text)} is not a whole number up to ${max}`);
      }
      return Number(text);
    };
    const index = integer("index", 2 ** 31 - 1, -(2 ** 31));
    const twin = index > 0 ? [...tasks.values()].find((task) => task.index === index) : undefined;
    if (twin !== undefined) throw new SpecError(node.line, field("index"), `${index} is that of ${twin.id} too`);
    const minBackoffMs = duration("minBackoff") ?? 0;
    const maxBackoffMs = duration("maxBackoff") ?? 0;
    const failEarly = attributes.failEarly || "false";
    if (!/^(true|false|t|f|1|0)$/i.test(failEarly)) {
      throw new SpecError(node.line, field("failEarly"), `${JSON.stringify(failEarly)} is neither true nor false`);
    }
    tasks.set(node.id, {
      id: node.id,
      type: type.toLowerCase(),
      behaviour,
      attributes,
      index,
      timeoutMs: duration("timeout"),
      failEarly: /^(true|t|1)$/i.test(failEarly),
      retries: integer("retries", 2 ** 32 - 1),
      // As Chainlink's task.base.go and the backoff library behind it: maxBackoff counts only beside a minBackoff.
      minBackoffMs: minBackoffMs > 0 ? minBackoffMs : 5_000,
      maxBackoffMs: minBackoffMs <= 0 ? 60_000 : maxBackoffMs > 0 ? maxBackoffMs : 10_000,
      inputs,
      awaits: named.filter(([, to]) => to === node.id).map(([from]) => from),
      outputs,
      ignored,
    });
  }
  return sorted(tasks, line);
}

/** Attributes by the names that the type has for them: letters' case says nothing, as in Chainlink's mapstructure; others are left aside. */
function understood(written: Readonly<Record<string, string>>, known: readonly string[]) {
  const attributes: Record<string, string> = {};
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(written)) {
    const meant = known.find((one) => one === name) ?? known.find((one) => one.toLowerCase() === name.toLowerCase());
    if (meant === undefined) ignored.push(name);
    else if (meant === name || !Object.hasOwn(written, meant)) attributes[meant] = value;
  }
  return { attributes, ignored };
}

/** Pairs of (from, to) where `to` names `from` in an attribute and no edge joins them. */
function namedTasks(graph: DotGraph): [string, string][] {
  return [...graph.nodes.values()].flatMap(({ id, attributes }) => {
    const roots = new Set(
      Object.values(attributes)
        .flatMap(variablesIn)
        .map((path) => path.split(".")[0]!),
    );
    const joined = (from: string) => graph.edges.some(([a, b]) => a === from && b === id);
    return [...roots]
      .filter((root) => root !== id && graph.nodes.has(root) && !joined(root))
      .map((root): [string, string] => [root, id]);
  });
}

/**
 * In the order that gonum's topo.SortStabilized gives: what is written first stands first, as far as the edges let it. By it
 * Chainlink orders a task's inputs that have the same index.
 */
function sorted(tasks: Map<string, PipelineTask>, line: number): PipelineTask[] {
  const last = [...tasks.values()].reverse();
  const done: PipelineTask[] = [];
  const open: string[] = [];
  const visit = (task: PipelineTask): void => {
    if (done.includes(task)) return;
    if (open.includes(task.id)) {
      const stuck = open.slice(open.indexOf(task.id));
      throw new SpecError(line, "observationSource", `the tasks ${stuck.join(", ")} wait for one another`);
    }
    open.push(task.id);
    for (const next of last) if (task.outputs.includes(next.id)) visit(next);
    open.pop();
    done.push(task);
  };
  for (const task of last) visit(task);
  return done.reverse();
}

/** The task of that id. */
export function taskOf(pipeline: Pipeline, id: string): PipelineTask {
  const found = pipeline.find((task) => task.id === id);
  if (found === undefined) throw new BijuliError("bad-spec", `there is no task ${id}`);
  return found;
}
