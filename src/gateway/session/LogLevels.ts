import type { Clock } from '../../core/clock.js';
import { RequestTimeoutError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { withDeadline, within } from '../../core/time/within.js';
import { type CallSignal, signalOf } from '../../core/wait/Cancellation.js';
import type { Downstream } from '../endpoint/Endpoint.js';
import type { GatewayPool } from '../GatewayOptions.js';
import { LEVELS } from '../rpc/levels.js';
import type { Callers } from './callers/Callers.js';

/** Longest that a server may take to be told, in ms. */
const LEVEL_TIMEOUT_MS = 5_000;

export interface LogLevelsOptions {
  readonly pool: GatewayPool;
  readonly callers: Callers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** All sessions that may hear a server's log messages. */
  readonly sessions: () => readonly Downstream[];
}

/** What one server is told for one session. */
interface Telling {
  level: string;
  /** Under way: it goes on until the server was told the newest. */
  asking: Promise<void> | undefined;
}

/** What a client of several servers wants to be logged: each server is told when it is first used after that, or is up already. */
export class LogLevels {
  readonly #options: LogLevelsOptions;
  /** By session, what each server was told. */
  readonly #told = new WeakMap<Downstream, Map<string, Telling>>();

  constructor(options: LogLevelsOptions) {
    this.#options = options;
  }

  /**
   * The session's level from now on; servers that are up are told. One that does not take it stays as it is. Rejects with the signal's reason
   * alone: they are told all the same.
   */
  async set(session: Downstream, level: string, signal?: CallSignal): Promise<void> {
    session.logLevel = level;
    const { pool, callers } = this.#options;
    const up = pool.servers().filter((server) => pool.info(server, callers.of(server, session)) !== undefined);
    await Promise.all(up.map((server) => this.tell(server, session, signal)));
  }

  /** Tells a server what the session wants, unless it knows: one request at a time, in a turn that others leave. Rejects as `set`. */
  async tell(server: string, session: Downstream, signal?: CallSignal): Promise<void> {
    const { logLevel: level } = session;
    if (level === undefined || session.era === 'modern') return;
    const told = this.#told.get(session) ?? new Map<string, Telling>();
    this.#told.set(session, told);
    const known = told.get(server);
    if (known?.level === level) return;
    const { pool, callers, clock } = this.#options;
    if (callers.eraOf(server, session) !== 'legacy') return;
    if (pool.info(server, callers.of(server, session))?.capabilities.logging === undefined) return;
    const telling = known ?? { level, asking: undefined };
    told.set(server, telling);
    telling.level = level;
    telling.asking ??= this.#askNewest(server, session, telling);
    await within(telling.asking, { clock, signal: signalOf(signal) });
  }

  /** Never rejects. */
  async #askNewest(server: string, session: Downstream, telling: Telling): Promise<void> {
    for (let asked: string | undefined; asked !== telling.level; ) {
      asked = telling.level;
      const { level } = telling;
      // In its turn, since a client may have a hundred servers told; it is not waited for there.
      await (await inTurnOrNow(() => ({ done: this.#ask(server, session, level) }))).done;
    }
    telling.asking = undefined;
  }

  /** Never rejects. */
  async #ask(server: string, session: Downstream, level: string): Promise<void> {
    const { callers, clock, logger } = this.#options;
    const params = { level: this.lowest(server, session, level) };
    const late = (): Error => new RequestTimeoutError(server, 'logging/setLevel', LEVEL_TIMEOUT_MS);
    try {
      await withDeadline({ clock, timeoutMs: LEVEL_TIMEOUT_MS, late, signal: session.signal }, (signal) =>
        callers.request(server, session, 'logging/setLevel', params, { signal }),
      );
    } catch (error) {
      logger.debug({ server, level, error }, 'a server did not take the log level');
    }
  }

  /** A server is up anew: it knows no level. */
  onStarted(server: string): void {
    for (const session of this.#options.sessions()) this.#told.get(session)?.delete(server);
  }

  /** The level that a server is told: on a shared one the most verbose that a session wants. */
  lowest(server: string, session: Downstream, level: string): string {
    if (this.#options.callers.isBound(server)) return level;
    let lowest = LEVELS.indexOf(level);
    for (const other of this.#options.sessions()) {
      if (other !== session && other.logLevel !== undefined) lowest = Math.min(lowest, LEVELS.indexOf(other.logLevel));
    }
    return LEVELS[lowest] ?? level;
  }
}
