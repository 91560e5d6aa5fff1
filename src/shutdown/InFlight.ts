import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { endWithSocket } from '../core/close/endWithSocket.js';
import { ClosedError, ShutdownTimeoutError } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { checkText, withDefaults } from '../core/options.js';
import { IdTable } from '../core/wait/IdTable.js';
import { nameSome, requestName } from './names.js';

export interface InFlightOptions {
  /** How errors call it. @defaultValue 'requests' */
  readonly name?: string;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

/** Names that `inspect` gives. */
const MAX_INSPECTED = 100;

/** What is in flight. */
export interface InFlightInspection {
  readonly name: string;
  readonly size: number;
  /** The names of the entries, the oldest first; never more than 100. */
  readonly oldest: readonly string[];
  /** Calls of `idle` that wait. */
  readonly waiting: number;
  readonly refusing: boolean;
}

/** One piece of work that has begun. */
export interface FlightEntry extends Disposable {
  readonly name: string;
  /** It is over; idempotent. */
  end(): void;
}

/**
 * What is being worked on, so that a shutdown can wait for it and name what it waits for. Put its `refuse` in the
 * phase `refuse` and itself in `drain`. `begin` and `end` cost an object and a place in a table.
 */
export class InFlight implements Closeable, AsyncDisposable {
  readonly name: string;
  readonly #entries = new IdTable<FlightEntry & { readonly id: number }>();
  #begun = 0;
  readonly #scope: CloseScope;
  readonly #logger: Logger;
  #idle: (() => void)[] = [];
  #refusing = false;

  constructor(given: InFlightOptions = {}) {
    const options = withDefaults('InFlight', given, { name: 'requests' }, { clock: true, logger: true });
    this.name = checkText('name', options.name);
    this.#logger = options.logger ?? silentLogger;
    this.#scope = new CloseScope(this.name, {
      ...(options.clock && { clock: options.clock }),
      ...(options.logger && { logger: options.logger }),
      onRefuse: () => this.refuse(),
      onDrain: () => this.idle(),
      onRelease: (grace) => {
        if (this.size > 0)
          throw new ShutdownTimeoutError(`${this.size} of ${this.name} (${nameSome(this.names)})`, grace.totalMs);
      },
    });
  }

  /** Entries that have begun and not ended. */
  get size(): number {
    return this.#entries.size;
  }

  /** Their names, the oldest first. */
  get names(): readonly string[] {
    return this.#entries.values().map((entry) => entry.name);
  }

  get refusing(): boolean {
    return this.#refusing;
  }

  /** What it holds now, for a debug page. */
  inspect(): InFlightInspection {
    const oldest = this.names.slice(0, MAX_INSPECTED);
    return { name: this.name, size: this.size, oldest, waiting: this.#idle.length, refusing: this.#refusing };
  }

  /** Counts one more until `end()`. @throws ClosedError once refusing. */
  begin(name = 'unnamed'): FlightEntry {
    if (this.#refusing) throw new ClosedError(this.name);
    const end = (): void => {
      if (this.#entries.delete(entry) && this.#entries.size === 0) this.#settle();
    };
    const entry = { id: ++this.#begun, name, end, [Symbol.dispose]: end };
    this.#entries.add(entry);
    return entry;
  }

  /** Counts `work` until it settles; gives it back. Once refusing, rejects with `ClosedError`. */
  async track<T>(work: Promise<T> | (() => Promise<T>), name?: string): Promise<T> {
    const entry = this.begin(name);
    try {
      return await (typeof work === 'function' ? work() : work);
    } finally {
      entry.end();
    }
  }

  /**
   * A node:http listener that counts each request until its response is sent or its connection is gone, and until what `handle`
   * returns has settled. Once refusing it answers 503 with `Connection: close` itself. What `handle` throws or rejects with
   * ends that request alone: it is logged and answered 500, or cut where an answer has begun.
   */
  listener(
    handle: (request: IncomingMessage, response: ServerResponse) => unknown,
  ): (request: IncomingMessage, response: ServerResponse) => void {
    return (request, response) => {
      if (this.#refusing) {
        refuseRequest(response);
        return;
      }
      const entry = this.begin(requestName(request));
      endWithSocket(response);
      const closed = new Promise<void>((resolve) => void response.once('close', resolve));
      // At once, and not in a later turn: the handler may have to listen to the request's data.
      const handled = new Promise((resolve) => resolve(handle(request, response))).catch((error: unknown) => {
        this.#logger.error({ error, request: entry.name }, 'a request handler failed');
        failRequest(response);
      });
      void Promise.all([closed, handled]).finally(entry.end);
    };
  }

  /** From now on nothing new begins. Idempotent. */
  refuse(): void {
    this.#refusing = true;
  }

  /** Resolves when nothing is in flight; at once when nothing is. Waits without bound: `close` is the bounded one. */
  idle(): Promise<void> {
    if (this.#entries.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Refuses, then waits `graceMs` for what is in flight. Rejects with an `AggregateError` that names what is left. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #settle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function refuseRequest(response: ServerResponse): void {
  answer(response, 503, 'shutting down', { Connection: 'close', 'Retry-After': '1' });
}

function failRequest(response: ServerResponse): void {
  if (response.headersSent) response.destroy();
  else answer(response, 500, 'internal error', {});
}

function answer(response: ServerResponse, status: number, error: string, headers: Readonly<Record<string, string>>) {
  const body = JSON.stringify({ error });
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}
