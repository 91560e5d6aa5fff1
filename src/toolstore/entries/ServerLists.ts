import { filesPrefix, isEntryFile, serverPart } from '../keys.js';
import type { Entry } from './Entry.js';
import type { EntryStore } from './EntryStore.js';

/** All lists of one server, whatever scope and fingerprint they are of: found by how their files' names begin. */
export class ServerLists {
  readonly #store: EntryStore;

  constructor(store: EntryStore) {
    this.#store = store;
  }

  /** Removes every list stored before this call, in memory at once; or keeps it as outdated. */
  async retire(parts: { readonly name: string; readonly fingerprint: string }, keep: boolean): Promise<void> {
    const before = this.#store.order;
    const prefix = filesPrefix(parts);
    const inHand = this.#retireAll(prefix, before, keep, []);
    const names = await this.#store.names();
    await Promise.all([inHand, this.#retireAll(prefix, before, keep, names)]);
  }

  /** The same for one file. */
  retireFile(file: string, keep: boolean): Promise<void> {
    return this.#retireOne(file, this.#store.order, keep);
  }

  async #retireAll(prefix: string, before: number, keep: boolean, names: readonly string[]): Promise<void> {
    const known = [...this.#store.entries()].map(({ head }) => head.file);
    const files = new Set([...names, ...this.#store.filesInHand(), ...known]);
    const matching = [...files].filter((file) => file.startsWith(prefix) && isEntryFile(file));
    await Promise.all(matching.map((file) => this.#retireOne(file, before, keep)));
  }

  async #retireOne(file: string, before: number, keep: boolean): Promise<void> {
    if (this.#isNewer(file, before)) return undefined;
    if (!keep) return this.#store.replace(file, undefined);
    // Never the copy in memory: another process may have stored a newer list since.
    let entry = this.#store.pending(file)?.wanted;
    if (entry === undefined) {
      entry = await this.#store.loadTools(file);
      if (this.#isNewer(file, before)) return undefined;
    }
    if (entry?.head.outdated === true) return this.#store.unload(file);
    return this.#store.replace(file, entry?.asOutdated(this.#store.nextOrder()));
  }

  /** Set since then, or on its way out already. */
  #isNewer(file: string, before: number): boolean {
    const pending = this.#store.pending(file);
    if (pending !== undefined) return pending.wanted === undefined || pending.wanted.order > before;
    return [...this.#store.entries()].some(({ head, order }) => head.file === file && order > before);
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
