import type { ServerResponse } from 'node:http';
import type { CloseScope } from '../../core/close/CloseScope.js';
import type { Logger } from '../../core/logger.js';
import { inSlices } from '../../core/time/inSlices.js';

/** A stream is asked about when it has been open for half to all of this time since it was asked about last, in ms. */
const RECHECK_MS = 60_000;
const SWEEP_MS = 1_000;

interface Open {
  /** Whether its client may go on hearing; rejects where that cannot be told. */
  readonly mayStay: () => Promise<boolean>;
  dueMs: number;
}

/**
 * Streams that stay open beyond the request that was let in: whether their clients may still hear is asked again, about once a minute.
 * One that may not is ended. When each is due is left to chance, so that many that were opened at one instant are not asked about at one.
 */
export class OpenStreams {
  readonly #scope: CloseScope;
  readonly #logger: Logger;
  readonly #open = new Map<ServerResponse, Open>();
  #sweeps: Disposable | undefined;
  #failing = false;

  constructor(scope: CloseScope, logger: Logger) {
    this.#scope = scope;
    this.#logger = logger;
  }

  /** From here on until it closes. */
  follow(response: ServerResponse, mayStay: () => Promise<boolean>): void {
    if (response.destroyed) return;
    this.#open.set(response, { mayStay, dueMs: this.#due() });
    response.once('close', () => this.#open.delete(response));
    this.#sweeps ??= this.#scope.every('rights to open streams', SWEEP_MS, () => this.#sweep());
  }

  #due(): number {
    return this.#scope.clock.now() + (RECHECK_MS * (1 + Math.random())) / 2;
  }

  async #sweep(): Promise<void> {
    const nowMs = this.#scope.clock.now();
    const due = [...this.#open].filter(([, { dueMs }]) => dueMs <= nowMs);
    if (due.length === 0) return;
    await inSlices(() => {
      const [response, open] = due.pop() ?? [];
      if (response === undefined || open === undefined) return true;
      open.dueMs = this.#due();
      if (!response.destroyed) void this.#ask(response, open);
      return false;
    }, 1);
  }

  /** Never rejects. A failure is no refusal: an issuer that fails ends no streams. */
  async #ask(response: ServerResponse, { mayStay }: Open): Promise<void> {
    try {
      const stays = await mayStay();
      this.#failing = false;
      if (!stays) end(response);
    } catch (error) {
      if (!this.#failing && !this.#scope.closing)
        this.#logger.error({ error }, 'open streams stay: authenticate failed when it was asked about them again');
      this.#failing = true;
    }
  }
}

/** A client that reads nothing would keep it from closing: the next time it is cut. */
function end(response: ServerResponse): void {
  if (response.headersSent && !response.writableEnded) response.end();
  else response.destroy();
}
