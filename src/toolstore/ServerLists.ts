import type { Entry } from './Entry.js';
import type { EntryStore } from './EntryStore.js';
import { filesPrefix, isEntryFile, serverPart } from './keys.js';

/** All lists of one server, whatever scope and fingerprint they are of: found by how their files' names begin. */
export class ServerLists {
  readonly #store: EntryStore;

  constructor(store: EntryStore) {
    this.#store = store;
  }

  /** Removes every list stored before this call, or keeps it as outdated. What is in memory changes at once. */
  async retire(parts: { readonly name: string; readonly fingerprint: string }, keep: boolean): Promise<void> {
    const before = this.#store.order;
    const prefix = filesPrefix(parts);
    const inHand = this.#retireAll(prefix, before, keep, []);
    const names = await this.#store.names();
    await Promise.all([inHand, this.#retireAll(prefix, before, keep, names)]);
  }

  async #retireAll(prefix: string, before: number, keep: boolean, names: readonly string[]): Promise<void> {
    const files = new Map<string, Entry | undefined>();
    for (const file of [...names, ...this.#store.filesInHand()]) files.set(file, undefined);
    for (const entry of this.#store.entries()) files.set(entry.head.file, entry);
    const matching = [...files].filter(([file]) => file.startsWith(prefix) && isEntryFile(file));
    await Promise.all(matching.map(([file, entry]) => this.#retireOne(file, entry, before, keep)));
  }

  async #retireOne(file: string, inMemory: Entry | undefined, before: number, keep: boolean): Promise<void> {
    if (this.#isNewer(file, inMemory, before)) return undefined;
    if (!keep) return this.#store.replace(file, undefined);
    let entry = inMemory ?? this.#store.pending(file)?.wanted;
    if (entry === undefined) {
      entry = await this.#store.loadTools(file);
      const now = [...this.#store.entries()].find(({ head }) => head.file === file);
      if (this.#isNewer(file, now, before)) return undefined;
    }
    if (entry?.head.outdated === true) return undefined;
    return this.#store.replace(file, entry?.asOutdated(this.#store.nextOrder()));
  }

  /** Set since then, or on its way out already. */
  #isNewer(file: string, inMemory: Entry | undefined, before: number): boolean {
    if (inMemory !== undefined && inMemory.order > before) return true;
    const pending = this.#store.pending(file);
    return pending !== undefined && (pending.wanted === undefined || pending.wanted.order > before);
  }

  /** Names of the servers that have a list, in order. */
  async servers(nowMs: number): Promise<string[]> {
    const servers = new Set<string>();
    const seen = new Set<string>();
    const note = (entry: Entry | undefined): void => {
      if (entry === undefined || entry.head.server === '' || nowMs >= entry.deadAtMs) return;
      servers.add(entry.head.server);
      seen.add(serverPart(entry.head.file) ?? '');
    };
    for (const entry of this.#store.entries()) note(entry);
    for (const file of this.#store.filesInHand()) note(this.#store.pending(file)?.wanted);
    for (const file of await this.#store.names()) {
      const part = isEntryFile(file) ? serverPart(file) : undefined;
      if (part === undefined || seen.has(part) || this.#store.pending(file) !== undefined) continue;
      note(await this.#store.loadTools(file));
    }
    return [...servers].sort();
  }
}
