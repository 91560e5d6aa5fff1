import { SharedTable } from '../../concurrent/SharedTable.js';

/** To so much of the bound room is made at a time. */
const LEFT = 0.98;

export interface SessionTablesOptions {
  /** What one session's entries may weigh, and those of all. */
  readonly maxWeight: number;
  readonly maxAllWeight: number;
}

/**
 * What each session, or user, has of its own, by the servers it has it from: a table for each, gone with it, all bounded together. When
 * they are too much, the one that has most loses its oldest, up to a half: none can drive out what others have.
 */
export class SessionTables {
  readonly #options: SessionTablesOptions;
  readonly #bySession = new WeakMap<object, SharedTable<string, undefined, string>>();
  readonly #all = new Set<WeakRef<SharedTable<string, undefined, string>>>();
  /** What they weigh, those of sessions that are gone included. */
  #weight = 0;

  constructor(options: SessionTablesOptions) {
    this.#options = options;
  }

  /** The server that the session has it from. */
  serverOf(session: object, key: string): string | undefined {
    return this.#bySession.get(session)?.ownerOf(key);
  }

  set(session: object, key: string, server: string, weight: number): void {
    const table = this.#bySession.get(session) ?? this.#begin(session);
    const before = table.weight;
    table.set(key, undefined, server, weight);
    this.#weight += table.weight - before;
    if (this.#weight > this.#options.maxAllWeight) this.#makeRoom();
  }

  #begin(session: object): SharedTable<string, undefined, string> {
    const table = new SharedTable<string, undefined, string>({ maxWeight: this.#options.maxWeight });
    this.#bySession.set(session, table);
    this.#all.add(new WeakRef(table));
    return table;
  }

  #makeRoom(): void {
    const live: SharedTable<string, undefined, string>[] = [];
    for (const each of this.#all) {
      const table = each.deref();
      if (table === undefined) this.#all.delete(each);
      else live.push(table);
    }
    live.sort((a, b) => b.weight - a.weight);
    this.#weight = live.reduce((sum, { weight }) => sum + weight, 0);
    for (const table of live) {
      const excess = this.#weight - LEFT * this.#options.maxAllWeight;
      if (excess <= 0) return;
      this.#weight -= table.weight;
      table.shrink(Math.max(table.weight - excess, table.weight / 2));
      this.#weight += table.weight;
    }
  }
}
