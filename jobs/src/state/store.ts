import type { Database } from "./database.ts";
import { History } from "./history.ts";
import { RunStore } from "./run-store.ts";
import { TransactionStore } from "./transaction-store.ts";

/** The state in SQL: runs, transactions, how far the chain was read, and what the API tells of them. */
export class Store {
  readonly runs: RunStore;
  readonly transactions: TransactionStore;
  readonly history: History;
  readonly #database: Database;
  readonly #chainId: string;

  constructor(database: Database, chainId: bigint) {
    this.#database = database;
    this.#chainId = chainId.toString();
    this.runs = new RunStore(database, this.#chainId);
    this.transactions = new TransactionStore(database, this.#chainId);
    this.history = new History(database, this.#chainId);
  }

  async position(): Promise<{ number: number; hash: string } | undefined> {
    const [row] = await this.#database.query<{ n: string; h: string }>(
      "select block_number::text as n, block_hash as h from bijuli.position where chain_id = $1::numeric",
      [this.#chainId],
    );
    return row && { number: Number(row.n), hash: row.h };
  }

  async setPosition(number: number, hash: string): Promise<void> {
    await this.#database.query(
      `insert into bijuli.position (chain_id, block_number, block_hash) values ($1::numeric, $2, $3)
       on conflict (chain_id) do update set block_number = excluded.block_number, block_hash = excluded.block_hash`,
      [this.#chainId, number, hash],
    );
  }
}
