import { ClosedError } from '../../core/errors.js';
import { assertLive } from '../../core/options.js';
import { AbortHub } from '../../core/wait/AbortHub.js';
import type { Limiter, LimiterAcquireOptions } from './Limiter.js';

/** The table that a `ServerLimiter` looks into, each time: what is idle there may have been forgotten. */
export interface ServerTable {
  tryAcquire(server: string, weight?: number, owner?: string): boolean;
  acquire(server: string, options?: LimiterAcquireOptions, owner?: string): Promise<void>;
  pauseFor(server: string, ms: number, owner?: string): void;
}

/** One server (or another key) of a table, as a limiter. It owns nothing but the callers that wait through it. */
export class ServerLimiter implements Limiter {
  readonly #table: ServerTable;
  readonly #server: string;
  readonly #owner: string | undefined;
  readonly #hub = new AbortHub();
  readonly #waiting = new Set<AbortController>();
  #closing: Promise<void> | undefined;

  /** `owner`: whose place in the table it takes where it is the first. */
  constructor(table: ServerTable, server: string, owner?: string) {
    this.#table = table;
    this.#server = server;
    this.#owner = owner;
  }

  tryAcquire(weight = 1): boolean {
    this.#assertOpen();
    return this.#table.tryAcquire(this.#server, weight, this.#owner);
  }

  async acquire({ signal, ...options }: LimiterAcquireOptions = {}): Promise<void> {
    this.#assertOpen();
    assertLive(signal);
    if (this.#table.tryAcquire(this.#server, options.weight, this.#owner)) return;
    const leave = new AbortController();
    this.#waiting.add(leave);
    const watch = signal && this.#hub.watch(signal, (reason) => leave.abort(reason));
    try {
      await this.#table.acquire(this.#server, { ...options, signal: leave.signal }, this.#owner);
    } finally {
      watch?.[Symbol.dispose]();
      this.#waiting.delete(leave);
    }
  }

  /** Every call gets this limiter. */
  for(): Limiter {
    return this;
  }

  pauseFor(ms: number): void {
    this.#assertOpen();
    this.#table.pauseFor(this.#server, ms, this.#owner);
  }

  close(): Promise<void> {
    this.#closing ??= Promise.resolve();
    for (const leave of this.#waiting) leave.abort(this.#closed());
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw this.#closed();
  }

  #closed(): ClosedError {
    return new ClosedError(`the limiter of server ${this.#server}`);
  }
}
