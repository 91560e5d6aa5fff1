import type { Clock } from '../../../core/clock.js';
import {
  AcquireTimeoutError,
  ForbiddenError,
  messageOf,
  PoolkitError,
  QueueFullError,
  RequestTimeoutError,
  ShutdownTimeoutError,
  StartError,
  UnauthorizedError,
} from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { within } from '../../../core/time/within.js';
import type { Caller } from '../../McpPool.js';
import { isEraRefusal } from '../callers/callerKey.js';
import { END_TIMEOUT_MS } from './ConnectionEnds.js';
import type { PooledConnection } from './PooledConnection.js';

/** Why a start ended before it began: it had to wait for room, and its callers have left meanwhile. */
export const UNAWAITED = new Error('no caller waits for it any more');

/** How one start ended, without a connection. */
export interface StartFailure {
  readonly error: unknown;
  /** False when nothing was tried: there was no room, or the partition was closed. */
  readonly tried: boolean;
  /** Whether callers waited for it. */
  readonly awaited: boolean;
}

export interface ConnectionStartsOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: {
    connect(caller: Caller | undefined, signal: AbortSignal, awaited?: () => boolean): Promise<PooledConnection>;
  };
}

export interface ConnectionStartsHooks {
  readonly onUp: (pooled: PooledConnection) => void;
  readonly onFailed: (failure: StartFailure) => void;
  /** It has settled, and no longer counts. */
  readonly onSettled: (up: boolean) => void;
}

/** The connections of a partition that are being started. */
export class ConnectionStarts {
  readonly #options: ConnectionStartsOptions;
  readonly #hooks: ConnectionStartsHooks;
  readonly #running = new Set<Promise<void>>();
  /** Of those that run; made anew for each time that any do. */
  #control: AbortController | undefined;
  #ended = false;

  constructor(options: ConnectionStartsOptions, hooks: ConnectionStartsHooks) {
    this.#options = options;
    this.#hooks = hooks;
  }

  get size(): number {
    return this.#running.size;
  }

  /** Begins one. `awaited`: whether callers wait for it, so that it waits for room, too; without, it is to be kept ready. */
  start(caller: Caller | undefined, awaited?: () => boolean): void {
    this.#control ??= new AbortController();
    const running = this.#start(caller, this.#control.signal, awaited).then((up) => {
      this.#running.delete(running);
      if (this.#running.size === 0) this.#control = undefined;
      this.#hooks.onSettled(up);
    });
    this.#running.add(running);
  }

  /** Gives up those that run; what comes up all the same is ended. */
  abort(reason: unknown): void {
    this.#ended = true;
    this.#control?.abort(reason);
  }

  /** Resolves when none runs. @throws ShutdownTimeoutError for a connector that does not obey its signal */
  async settled(): Promise<void> {
    if (this.#running.size === 0) return;
    const { server, clock } = this.#options;
    const late = (): unknown => new ShutdownTimeoutError(`a start of server ${server}`, END_TIMEOUT_MS);
    await within(Promise.all(this.#running), { clock, timeoutMs: END_TIMEOUT_MS, late });
  }

  /** Whether one is up. Never rejects. */
  async #start(caller: Caller | undefined, signal: AbortSignal, awaited?: () => boolean): Promise<boolean> {
    const { host, server, logger } = this.#options;
    try {
      const pooled = await host.connect(caller, signal, awaited);
      if (this.#ended || !pooled.connection.alive) {
        await pooled.connection.close({ graceMs: 0 }).finally(() => pooled.permit.release());
        throw new StartError(server, 'it died right after its start');
      }
      this.#hooks.onUp(pooled);
      return true;
    } catch (error) {
      // A server that does not speak the era that its caller asks for is no server that fails.
      const refused = isEraRefusal(error);
      const left = error === UNAWAITED;
      const full = left || error instanceof AcquireTimeoutError || error instanceof QueueFullError;
      const tried = !(this.#ended || refused || full);
      if (tried && !awaited) logger.warn({ server, error: messageOf(error) }, 'a warm connection could not be started');
      this.#hooks.onFailed({ error: plain(server, error), tried, awaited: awaited !== undefined && !left });
      return false;
    }
  }
}

/** What a failed start is told as: for a refusal of credentials just that, and what is no error of ours as a `StartError`. */
function plain(server: string, error: unknown): unknown {
  const refused = error instanceof StartError ? error.cause : undefined;
  if (refused instanceof UnauthorizedError || refused instanceof ForbiddenError) return refused;
  if (error instanceof StartError && error.cause instanceof RequestTimeoutError) {
    const { method, timeoutMs } = error.cause;
    const why = `${method} was not answered within ${Math.round(timeoutMs)} ms (startTimeoutMs)`;
    return new StartError(server, why, error, error.cause);
  }
  return error instanceof PoolkitError ? error : new StartError(server, messageOf(error), {}, error);
}
