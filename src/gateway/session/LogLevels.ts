import type { Logger } from '../../core/logger.js';
import type { Downstream } from '../endpoint/Endpoint.js';
import type { GatewayPool } from '../GatewayOptions.js';
import { LEVELS } from '../rpc/levels.js';
import type { Callers } from './callers/Callers.js';

export interface LogLevelsOptions {
  readonly pool: GatewayPool;
  readonly callers: Callers;
  readonly logger: Logger;
  /** All sessions that may hear a server's log messages. */
  readonly sessions: () => readonly Downstream[];
}

/** What a client of several servers wants to be logged: each server is told when it is first used after that, or is up already. */
export class LogLevels {
  readonly #options: LogLevelsOptions;
  /** By session, what each server was told. */
  readonly #told = new WeakMap<Downstream, Map<string, string>>();

  constructor(options: LogLevelsOptions) {
    this.#options = options;
  }

  /** The session's level from now on; servers that are up are told. One that does not take it stays as it is. */
  async set(session: Downstream, level: string): Promise<void> {
    session.logLevel = level;
    const { pool, callers } = this.#options;
    const up = pool.servers().filter((server) => pool.info(server, callers.of(server, session)) !== undefined);
    await Promise.all(up.map((server) => this.tell(server, session)));
  }

  /** Tells a server what the session wants, unless it knows. Never rejects. */
  async tell(server: string, session: Downstream): Promise<void> {
    const { logLevel: level } = session;
    if (level === undefined || session.era === 'modern') return;
    const told = this.#told.get(session) ?? new Map<string, string>();
    this.#told.set(session, told);
    if (told.get(server) === level) return;
    const { pool, callers, logger } = this.#options;
    if (callers.eraOf(server, session) !== 'legacy') return;
    if (pool.info(server, callers.of(server, session))?.capabilities.logging === undefined) return;
    told.set(server, level);
    try {
      await callers.request(
        server,
        session,
        'logging/setLevel',
        { level: this.lowest(server, session, level) },
        {
          signal: session.signal,
        },
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
    const others = this.#options.sessions().filter((each) => each !== session);
    const wanted = [level, ...others.map(({ logLevel }) => logLevel)].flatMap((each) =>
      each === undefined ? [] : [LEVELS.indexOf(each)],
    );
    return LEVELS[wanted.reduce((a, b) => Math.min(a, b))] ?? level;
  }
}
