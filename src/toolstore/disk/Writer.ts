import { Mutex } from 'async-mutex';
import { QueueFullError } from '../../core/errors.js';
import type { Entry } from '../entries/Entry.js';
import type { EntryFiles } from './EntryFiles.js';
import { encodeFile } from './envelope.js';

export interface WriterHooks {
  readonly maxPending: number;
  readonly onSaved: (entry: Entry | undefined) => void;
  readonly onFailed: (error: unknown) => void;
}

/** What a file is to become: an entry, or gone (`undefined`). */
type Wanted = Entry | undefined;

class Slot {
  readonly mutex = new Mutex();
  wanted: Wanted;
  /** The turn that will write `wanted`; undefined once it has begun. */
  next: Promise<void> | undefined;
  /** The turn that has begun. */
  running: Promise<void> | undefined;
  /** The last turn failed: `wanted` is not on disk, and is the truth until it is. */
  failed = false;
  /** While failed: whether an older file may still be there. */
  oldOnDisk = true;
}

/**
 * One writer per key. Of the changes that wait for their turn only the newest is written, and all who asked for one of
 * them wait for that. A failed change stays here as the truth about its key, for `retryFailed`.
 */
export class Writer {
  readonly #files: EntryFiles;
  readonly #hooks: WriterHooks;
  readonly #slots = new Map<string, Slot>();
  #waiting = 0;
  writes = 0;
  failures = 0;

  constructor(files: EntryFiles, hooks: WriterHooks) {
    this.#files = files;
    this.#hooks = hooks;
  }

  /** Keys whose newest value is not on disk. */
  get unsaved(): number {
    return this.#slots.size;
  }

  /** Files whose newest change is not on disk. */
  files(): IterableIterator<string> {
    return this.#slots.keys();
  }

  /** Makes room for one more, or throws `QueueFullError`. Only new values are refused, never a removal. */
  assertRoom(file: string): void {
    if (this.#waiting < this.#hooks.maxPending || this.#slots.get(file)?.next !== undefined) return;
    throw new QueueFullError('FileCache writes', this.#waiting, this.#hooks.maxPending);
  }

  /** The truth about a file whose change is not on disk; undefined when the disk is the truth. */
  pending(file: string): { readonly wanted: Wanted } | undefined {
    return this.#slots.get(file);
  }

  /** Resolves when the change is on disk, or has failed and was reported. Never rejects. */
  put(file: string, wanted: Wanted): Promise<void> {
    const slot = this.#slots.get(file) ?? new Slot();
    this.#slots.set(file, slot);
    slot.wanted = wanted;
    slot.failed = false;
    if (slot.next !== undefined) return slot.next;
    this.#waiting++;
    const turn = slot.mutex.runExclusive(() => {
      slot.running = slot.next;
      slot.next = undefined;
      this.#waiting--;
      return this.#turn(file, slot);
    });
    slot.next = turn;
    return turn;
  }

  async #turn(file: string, slot: Slot): Promise<void> {
    const { wanted } = slot;
    try {
      if (wanted === undefined) await this.#files.remove(file);
      else wanted.stamp = await this.#files.write(file, await encodeFile(wanted.head, wanted.texts()));
      this.writes++;
      if (slot.next === undefined) this.#slots.delete(file);
      this.#hooks.onSaved(wanted);
    } catch (error) {
      this.failures++;
      if (slot.next === undefined) {
        slot.failed = true;
        // To the end of the line: what fails for its size must not keep the others from their next try.
        this.#slots.delete(file);
        this.#slots.set(file, slot);
        slot.oldOnDisk = !(await this.#removed(file));
      }
      this.#hooks.onFailed(error);
    } finally {
      slot.running = undefined;
    }
  }

  /** Whether no file of that name is left: an older value must not come back in place of the one that failed. */
  async #removed(file: string): Promise<boolean> {
    try {
      await this.#files.remove(file);
      return true;
    } catch {
      return (await this.#files.identity(file).catch(() => 'unknown')) === undefined;
    }
  }

  /** The entry has left memory. If it never reached the disk, all that is kept of it is that its older file is void. */
  forget(entry: Entry): void {
    const { file } = entry.head;
    const slot = this.#slots.get(file);
    if (slot?.wanted !== entry || !slot.failed) return;
    if (slot.oldOnDisk) slot.wanted = undefined;
    else this.#slots.delete(file);
  }

  /** Tries what failed once more; at the first failures it gives up for now. */
  async retryFailed(): Promise<void> {
    const failed = [...this.#slots].filter(([, slot]) => slot.failed);
    const before = this.failures;
    for (const [file, slot] of failed) {
      if (slot.failed) await this.put(file, slot.wanted);
      if (this.failures - before >= MAX_FAILURES_PER_RETRY) return;
    }
  }

  get failing(): boolean {
    for (const slot of this.#slots.values()) if (slot.failed) return true;
    return false;
  }

  /** What is being written or waits to be. */
  inFlight(): Promise<void>[] {
    return [...this.#slots.values()].flatMap(({ next, running }) =>
      [next, running].filter((each) => each !== undefined),
    );
  }
}

const MAX_FAILURES_PER_RETRY = 8;
