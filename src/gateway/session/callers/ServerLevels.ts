import type { Logger } from '../../../core/logger.js';
import type { ServerInfo } from '../../../pool/McpPool.js';
import { levelOf } from '../../rpc/levels.js';

/**
 * The log level that each connection of a legacy server was told. What a handshake gave stands for the connection: after a
 * restart, or in a new session, there is another.
 */
export class ServerLevels {
  readonly #logger: Logger;
  readonly #told = new WeakMap<ServerInfo, Told>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The server accepted a level. */
  accepted(info: ServerInfo | undefined, level: unknown): void {
    if (info !== undefined) this.#told.set(info, { level: levelOf(level), done: DONE });
  }

  /** Has the server log as much as `level` says, unless it does already: a less verbose wish of one leaves others' alone. Never rejects. */
  async ensure(info: ServerInfo | undefined, level: string, tell: () => Promise<unknown>): Promise<void> {
    if (info?.capabilities.logging === undefined) return;
    const known = this.#told.get(info);
    if (known !== undefined && known.level <= levelOf(level)) return known.done;
    // One that refuses is not asked again.
    const done = tell().then(
      () => undefined,
      (error: unknown) => this.#logger.debug({ level, error }, 'a server did not take the log level'),
    );
    this.#told.set(info, { level: levelOf(level), done });
    return done;
  }
}

interface Told {
  readonly level: number;
  /** The server has answered to it. */
  readonly done: Promise<void>;
}

const DONE = Promise.resolve();
