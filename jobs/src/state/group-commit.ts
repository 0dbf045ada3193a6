interface Waiting<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/**
 * Has what is written at the same time share one statement, and so one sync of the disk: what is added while a statement
 * is under way leaves with the next. Two items of one key never share a statement, and keep their order.
 */
export class GroupCommit<Item, Result> {
  readonly #commit: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly #keyOf: (item: Item) => string;
  #waiting: Waiting<Item, Result>[] = [];
  #running = false;

  /** @param commit writes items in one statement and gives each one's result, in their order */
  constructor(commit: (items: readonly Item[]) => Promise<readonly Result[]>, keyOf: (item: Item) => string) {
    this.#commit = commit;
    this.#keyOf = keyOf;
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      setImmediate(() => void this.#run());
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const keys = new Set<string>();
      const batch: Waiting<Item, Result>[] = [];
      const later: Waiting<Item, Result>[] = [];
      for (const one of this.#waiting) {
        const key = this.#keyOf(one.item);
        (keys.has(key) ? later : batch).push(one);
        keys.add(key);
      }
      this.#waiting = later;
      try {
        const results = await this.#commit(batch.map(({ item }) => item));
        for (const [index, one] of batch.entries()) one.resolve(results[index]!);
      } catch (error) {
        if (batch.length === 1) batch[0]!.reject(error);
        // One that cannot be written does not take the others with it.
        else
          await Promise.all(
            batch.map((one) => this.#commit([one.item]).then(([result]) => one.resolve(result!), one.reject)),
          );
      }
    }
    this.#running = false;
  }
}
