import { checkBytes, checkCount, withDefaults } from '../../../../core/options.js';
import type { EventStore } from './EventStore.js';

export interface MemoryEventStoreOptions {
  /** Bytes of messages kept, as JSON, from 1; the oldest go first. @defaultValue 67108864 */
  readonly maxBytes?: number;
  /** Events kept, from 1; the oldest go first. @defaultValue 100000 */
  readonly maxEvents?: number;
}

export const MEMORY_EVENT_STORE_DEFAULTS = Object.freeze({ maxBytes: 64 * 1_024 * 1_024, maxEvents: 100_000 });

interface Stored {
  readonly stream: string;
  /** As JSON: that takes its bytes, and a value many times as many. */
  readonly text: string;
  readonly bytes: number;
}

/**
 * Events of many streams in memory, within bounds: for the SDK's servers, and for several gateways in one process. A gateway
 * without a store of its own keeps its events in memory as well, and as they were written.
 */
export class MemoryEventStore implements EventStore {
  readonly #options: Required<MemoryEventStoreOptions>;
  readonly #events = new Map<number, Stored>();
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
    const id = this.#next++;
    const text = JSON.stringify(message) ?? '{}';
    const bytes = Buffer.byteLength(text);
    this.#events.set(id, { stream, text, bytes });
    this.#bytes += bytes;
    const { maxBytes, maxEvents } = this.#options;
    for (const [oldest, event] of this.#events) {
      if (this.#events.size <= maxEvents && this.#bytes <= maxBytes) break;
      // The newest stays, however large: it may be an answer.
      if (oldest === id) break;
      this.#events.delete(oldest);
      this.#bytes -= event.bytes;
    }
    return String(id);
  }

  async getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    return this.#events.get(Number(eventId))?.stream;
  }

  async replayEventsAfter(
    lastEventId: string,
    { send }: { readonly send: (eventId: string, message: unknown) => Promise<void> },
  ): Promise<string> {
    const stream = this.#events.get(Number(lastEventId))?.stream;
    if (stream === undefined) throw new Error('that event is not here any more');
    const missed = [...this.#events].filter(([id, each]) => id > Number(lastEventId) && each.stream === stream);
    for (const [id, { text }] of missed) if (text !== '{}') await send(String(id), JSON.parse(text));
    return stream;
  }
}
