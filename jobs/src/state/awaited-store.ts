import { randomUUID } from "node:crypto";
import type { Database } from "./database.ts";
import { jsonb } from "./jsonb.ts";

export type LateAnswer = { value: string } | { error: string };

export interface Awaited {
  /** A random UUID: who knows it may answer. */
  id: string;
  state: "new" | "pending" | "answered";
  answer: LateAnswer | undefined;
}

/** Answers that external adapters give later, by run and task. */
export class AwaitedStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The place of a task's answer, made when there is none. */
  async slot(runId: string, task: string): Promise<Awaited> {
    const [row] = await this.#database.query<{ id: string; pending: boolean; answer: LateAnswer | null }>(
      `insert into bijuli.awaited as a (id, run_id, task) values ($1, $2, $3)
       on conflict (run_id, task) do update set task = a.task returning id, pending, answer`,
      [randomUUID(), runId, task],
    );
    const { id, pending, answer } = row!;
    return { id, state: answer !== null ? "answered" : pending ? "pending" : "new", answer: answer ?? undefined };
  }

  async pending(id: string): Promise<void> {
    await this.#database.query("update bijuli.awaited set pending = true where id = $1", [id]);
  }

  /** Takes an answer. @returns the run that waits for it; undefined when none does */
  async answer(id: string, answer: LateAnswer): Promise<string | undefined> {
    const [row] = await this.#database.query<{ run_id: string }>(
      "update bijuli.awaited set answer = $2::jsonb where id = $1 and answer is null returning run_id",
      [id, jsonb(answer)],
    );
    return row?.run_id;
  }

  async clear(runId: string): Promise<void> {
    await this.#database.query("delete from bijuli.awaited where run_id = $1", [runId]);
  }
}
