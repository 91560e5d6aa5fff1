import { checkBytes, checkCount, withDefaults } from '../../../../core/options.js';
import type { EventStore, ReplayReader } from './EventStore.js';
import { handOver } from './replaying.js';

export interface MemoryEventStoreOptions {
  /** Bytes of messages kept, as JSON, from 1; the oldest go first. @defaultValue 67108864 */
  readonly maxBytes?: number;
  /** Events kept, from 1; the oldest go first. @defaultValue 100000 */
  readonly maxEvents?: number;
}

export const MEMORY_EVENT_STORE_DEFAULTS = Object.freeze({ maxBytes: 64 * 1_024 * 1_024, maxEvents: 100_000 });

interface Stored {
  readonly id: number;
  readonly stream: string;
  /** As JSON: that takes its bytes, and a value many times as many. */
  readonly text: string;
  readonly bytes: number;
  /** The next one of its stream. */
  next: Stored | undefined;
}

/**
 * Events of many streams in memory, within bounds: for the SDK's servers, and for several gateways in one process. A gateway
 * without a store of its own keeps its events in memory as well, and as they were written.
 */
export class MemoryEventStore implements EventStore {
  readonly #options: Required<MemoryEventStoreOptions>;
  readonly #events = new Map<number, Stored>();
  /** The newest of each stream. */
  readonly #newest = new Map<string, Stored>();
  #next = 1;
  #bytes = 0;

  /** @throws OptionError */
  constructor(given: MemoryEventStoreOptions = {}) {
    const options = withDefaults('MemoryEventStore', given, MEMORY_EVENT_STORE_DEFAULTS, {});
    checkBytes('maxBytes', options.maxBytes, { min: 1 });
    checkCount('maxEvents', options.maxEvents, { min: 1 });
    this.#options = options;
  }

  /** What is held now. */
  get stats(): { readonly events: number; readonly bytes: number } {
    return { events: this.#events.size, bytes: this.#bytes };
  }

  async storeEvent(stream: string, message: unknown): Promise<string> {
    return this.storeText(stream, JSON.stringify(message) ?? '{}');
  }

  async storeText(stream: string, text: string): Promise<string> {
    const id = this.#next++;
    const bytes = Buffer.byteLength(text);
    const stored: Stored = { id, stream, text, bytes, next: undefined };
    const before = this.#newest.get(stream);
    if (before !== undefined) before.next = stored;
    this.#newest.set(stream, stored);
    this.#events.set(id, stored);
    this.#bytes += bytes;
    const { maxBytes, maxEvents } = this.#options;
    for (const [oldest, event] of this.#events) {
      if (this.#events.size <= maxEvents && this.#bytes <= maxBytes) break;
      // The newest stays, however large: it may be an answer.
      if (oldest === id) break;
      this.#events.delete(oldest);
      if (this.#newest.get(event.stream) === event) this.#newest.delete(event.stream);
      this.#bytes -= event.bytes;
    }
    return String(id);
  }

  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    return this.#events.get(Number(eventId))?.stream;
  }

  async replayEventsAfter(lastEventId: string, to: ReplayReader): Promise<string> {
    const last = this.#events.get(Number(lastEventId));
    if (last === undefined) throw new Error('that event is not here any more');
    // What is stored meanwhile is not what was missed.
    const end = this.#next;
    for (let event = last.next; event !== undefined && event.id < end; event = event.next) {
      await handOver(to, String(event.id), event.text);
    }
    return last.stream;
  }
}
