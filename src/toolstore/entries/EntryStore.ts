import { LRUCache } from 'lru-cache';
import type { CloseScope } from '../../core/close/CloseScope.js';
import { DiskHealth } from '../disk/DiskHealth.js';
import { EntryFiles } from '../disk/EntryFiles.js';
import { Sweeper } from '../disk/Sweeper.js';
import { Writer } from '../disk/Writer.js';
import { fileOf, type Key } from '../keys.js';
import type { FileCacheSettings } from '../options.js';
import { type Content, Entry, type EntryHead } from './Entry.js';

export interface Life {
  readonly ttlMs: number;
  readonly staleMs: number;
  readonly shared?: boolean;
}

/** A stamp this far ahead of the clock is another machine's drift; further ahead, its age cannot be known. */
const DRIFT_MS = 1_000;

/**
 * Entries in memory, and their files behind. The newest value of a key is looked for in this order: memory while its
 * file need not be looked at again, what waits to be written, the file. A file that changes or goes is another
 * process's doing and wins; a disk that fails leaves memory as it is. Nothing here rejects for a disk's sake.
 */
export class EntryStore {
  readonly #settings: FileCacheSettings;
  readonly #files: EntryFiles;
  readonly #writer: Writer;
  readonly #health: DiskHealth;
  readonly #sweeper: Sweeper;
  readonly #memory: LRUCache<string, Entry>;
  /** Files that were not there, and until when that is believed. */
  readonly #absent: LRUCache<string, number>;
  /** Reads under way; one that a change overtook is taken out, and looks again. */
  readonly #reads = new Map<string, { promise: Promise<Entry | undefined> }>();
  #order = 0;
  #quarantined = 0;

  constructor(settings: FileCacheSettings, scope: CloseScope) {
    this.#settings = settings;
    this.#files = new EntryFiles({
      ...settings,
      onQuarantined: (file, why) => {
        this.#quarantined++;
        settings.logger.warn({ file, why, directory: settings.directory }, 'a cache file was moved to quarantine');
      },
    });
    this.#writer = new Writer(this.#files, {
      maxPending: settings.maxPendingWrites,
      onSaved: (entry) => {
        if (entry !== undefined) entry.recheckAtMs = settings.clock.now() + settings.recheckMs;
        this.#health.healed();
      },
      onFailed: (error) => this.#health.trouble(error),
    });
    this.#health = new DiskHealth(settings, scope, this.#writer, () => this.#files.names());
    this.#memory = new LRUCache({
      max: settings.maxEntries,
      maxSize: settings.maxBytes,
      sizeCalculation: ({ bytes, key }) => bytes + key.memo.length,
      dispose: (entry, _memo, reason) => {
        if (reason === 'evict') this.#writer.forget(entry);
      },
    });
    this.#absent = new LRUCache({ max: settings.maxEntries });
    this.#sweeper = new Sweeper(this.#files, {
      ...settings,
      isDead: (head) => this.#ageMs(head) >= head.ttlMs + head.staleMs,
      isBusy: (file) => this.#writer.pending(file) !== undefined,
    });
    this.#sweeper.start(scope, settings.sweepMs, (error) => this.#health.trouble(error));
  }

  /** What memory has, if its file need not be looked at first. */
  peek(memo: string, nowMs: number): Entry | undefined {
    const entry = this.#memory.get(memo);
    return entry !== undefined && nowMs < entry.recheckAtMs && nowMs < entry.deadAtMs ? entry : undefined;
  }

  /** The entry of a key, fresh or stale. Never rejects: what the disk refuses is a miss, and reported. */
  async find(key: Key): Promise<Entry | undefined> {
    const nowMs = this.#settings.clock.now();
    const hit = this.#memory.get(key.memo);
    if (hit !== undefined && nowMs < hit.recheckAtMs) return alive(hit, nowMs);
    const file = fileOf(key);
    const pending = this.#writer.pending(file);
    if (pending !== undefined) return alive(pending.wanted, nowMs);
    if (nowMs < (this.#absent.get(file) ?? Number.NEGATIVE_INFINITY)) return undefined;
    let read = this.#reads.get(file);
    if (read === undefined) {
      const begun = { promise: Promise.resolve<Entry | undefined>(undefined) };
      this.#reads.set(file, begun);
      begun.promise = this.#read(key, file, hit, () => this.#reads.get(file) === begun);
      read = begun;
    }
    return read.promise;
  }

  async #read(key: Key, file: string, hit: Entry | undefined, current: () => boolean): Promise<Entry | undefined> {
    const { clock, recheckMs } = this.#settings;
    let found: Entry | undefined;
    try {
      if (hit?.stamp?.racy === false && (await this.#files.identity(file)) === hit.stamp.identity) found = hit;
      else found = await this.#load(key, file);
    } catch (error) {
      this.#health.trouble(error);
      found = hit;
    }
    if (!current()) return this.find(key);
    this.#reads.delete(file);
    const nowMs = clock.now();
    if (found === undefined || nowMs >= found.deadAtMs) {
      this.#memory.delete(key.memo);
      this.#absent.set(file, nowMs + recheckMs);
      return undefined;
    }
    found.recheckAtMs = nowMs + recheckMs;
    if (found !== hit) this.#memory.set(key.memo, found);
    return found;
  }

  async #load(key: Key, file: string): Promise<Entry | undefined> {
    const found = await this.#files.read(file);
    if (found === undefined) return undefined;
    const ageMs = this.#ageMs(found.head);
    if (Number.isNaN(ageMs)) return undefined;
    const entry = new Entry(key, found.head, found, { nowMs: this.#settings.clock.now(), ageMs, order: 0 });
    // Until it comes, or should it never come, the file is read again instead of compared.
    found.stamp.then(
      (stamp) => {
        entry.stamp = stamp;
      },
      (error: unknown) => this.#health.trouble(error),
    );
    return entry;
  }

  /** By the wall clock, the only one that outlives a process. NaN for a stamp from the future: neither young nor old. */
  #ageMs(head: EntryHead): number {
    const ageMs = this.#settings.clock.wallNow() - head.setAt;
    return ageMs < -DRIFT_MS ? Number.NaN : Math.max(0, ageMs);
  }

  /** An entry not stored yet. */
  make(key: Key, content: Content, { ttlMs, staleMs, shared = false }: Life): Entry {
    const { clock } = this.#settings;
    const server = key.kind === 'tools' ? key.name : '';
    const head = { file: fileOf(key), server, setAt: clock.wallNow(), ttlMs, staleMs, shared, outdated: false };
    const life = { nowMs: clock.now(), ageMs: 0, order: ++this.#order };
    return new Entry(key, head, content, life);
  }

  /** Whether memory, or what waits to be written, has a value for the entry's key, or its removal. */
  holds({ key, head }: Entry): boolean {
    return this.#memory.peek(key.memo) !== undefined || this.#writer.pending(head.file) !== undefined;
  }

  /** @throws QueueFullError when too many writes wait */
  assertRoom(entry: Entry): void {
    this.#writer.assertRoom(entry.head.file);
  }

  /** In memory at once; resolves when it is on disk, or known not to get there now. @throws QueueFullError */
  put(entry: Entry): Promise<void> {
    const { file } = entry.head;
    this.#writer.assertRoom(file);
    this.#overtake(file);
    this.#memory.set(entry.key.memo, entry);
    return this.#writer.put(file, entry).then(() => {
      // Too large for memory, or evicted while it was written: a failed write is not tried again, since no value is left to write.
      if (this.#memory.peek(entry.key.memo) !== entry) this.#writer.forget(entry);
    });
  }

  /** Gone at once; resolves when it is gone from the disk, or cannot be. */
  remove(key: Key): Promise<void> {
    this.#memory.delete(key.memo);
    return this.#removeFile(fileOf(key));
  }

  #removeFile(file: string): Promise<void> {
    this.#overtake(file);
    return this.#writer.put(file, undefined);
  }

  /** Out of memory; the next look goes to the file. */
  unload(file: string): void {
    this.#overtake(file);
    for (const each of [...this.#memory.values()]) if (each.head.file === file) this.#memory.delete(each.key.memo);
  }

  /** Puts `entry` in the place of whatever `file` holds, or nothing. */
  replace(file: string, entry: Entry | undefined): Promise<void> {
    this.unload(file);
    if (entry === undefined) return this.#removeFile(file);
    if (entry.key.memo !== '') this.#memory.set(entry.key.memo, entry);
    return this.#writer.put(file, entry);
  }

  #overtake(file: string): void {
    this.#reads.delete(file);
    this.#absent.delete(file);
  }

  /** Counts the sets so far: what is made from now on has a higher one. */
  get order(): number {
    return this.#order;
  }

  /** An order for a change that is none of a user's values. */
  nextOrder(): number {
    return ++this.#order;
  }

  entries(): Iterable<Entry> {
    return [...this.#memory.values()];
  }

  /** The truth about a file that is not on disk yet. */
  pending(file: string): { readonly wanted: Entry | undefined } | undefined {
    return this.#writer.pending(file);
  }

  /** Files being read or written, or waiting for it. */
  filesInHand(): string[] {
    return [...this.#reads.keys(), ...this.#writer.files()];
  }

  /** Every name in the directory; none where it cannot be read. */
  async names(): Promise<string[]> {
    try {
      return await this.#files.names();
    } catch (error) {
      this.#health.trouble(error);
      return [];
    }
  }

  /** A server's list by its file alone: its scope and fingerprint, known only as hashes, stay unknown. */
  async loadTools(file: string): Promise<Entry | undefined> {
    try {
      const entry = await this.#load({ kind: 'tools', name: '', fingerprint: '', scope: undefined, memo: '' }, file);
      return alive(entry, this.#settings.clock.now());
    } catch (error) {
      this.#health.trouble(error);
      return undefined;
    }
  }

  /** Resolves when no read or write is under way. */
  async settle(): Promise<void> {
    for (let busy = this.#busy(); busy.length > 0; busy = this.#busy()) await Promise.all(busy);
  }

  /** The last act: what the disk refused before is tried once more. */
  async finish(): Promise<void> {
    await this.settle();
    await this.#writer.retryFailed();
    await this.settle();
    const { unsaved } = this.#writer;
    if (unsaved > 0) this.#settings.logger.warn({ unsaved }, 'the cache closes with changes that are not on disk');
  }

  /** None of these rejects. */
  #busy(): Promise<unknown>[] {
    const reads = [...this.#reads.values()].map(({ promise }) => promise);
    return [...this.#writer.inFlight(), ...reads, ...this.#files.closing];
  }

  get stats() {
    return {
      entries: this.#memory.size,
      bytes: this.#memory.calculatedSize,
      writes: this.#writer.writes,
      writeFailures: this.#writer.failures,
      unsaved: this.#writer.unsaved,
      quarantined: this.#quarantined,
      swept: this.#sweeper.removed,
      degraded: this.#health.degraded,
    };
  }
}

const alive = (entry: Entry | undefined, nowMs: number): Entry | undefined =>
  entry !== undefined && nowMs < entry.deadAtMs ? entry : undefined;
