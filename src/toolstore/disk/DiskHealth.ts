import type { CloseScope } from '../../core/close/CloseScope.js';
import { messageOf } from '../../core/errors.js';
import type { FileCacheSettings } from '../options.js';
import type { Writer } from './Writer.js';

/** Whether the directory can be used. Trouble is said once; what failed is tried again until all of it is written. */
export class DiskHealth {
  readonly #settings: Pick<FileCacheSettings, 'logger' | 'directory' | 'diskRetryMs'>;
  readonly #scope: CloseScope;
  readonly #writer: Writer;
  readonly #probe: () => Promise<unknown>;
  #degraded: string | undefined;

  constructor(
    settings: Pick<FileCacheSettings, 'logger' | 'directory' | 'diskRetryMs'>,
    scope: CloseScope,
    writer: Writer,
    probe: () => Promise<unknown>,
  ) {
    this.#settings = settings;
    this.#scope = scope;
    this.#writer = writer;
    this.#probe = probe;
  }

  /** What is wrong; undefined while nothing is. */
  get degraded(): string | undefined {
    return this.#degraded;
  }

  /** The disk refused something. */
  trouble(error: unknown): void {
    if (this.#degraded !== undefined) return;
    const { logger, directory } = this.#settings;
    this.#degraded = messageOf(error);
    logger.warn({ error, directory }, 'the cache works in memory only: its directory cannot be used');
    this.#retryLater();
  }

  #retryLater(): void {
    if (this.#scope.closing) return;
    this.#scope.timer('disk retry', this.#settings.diskRetryMs, () => void this.#scope.track(this.#retry()));
  }

  async #retry(): Promise<void> {
    try {
      await this.#writer.retryFailed();
      // With nothing to write, a look at the directory tells.
      await this.#probe();
      if (this.healed()) return;
    } catch (error) {
      this.#degraded = messageOf(error);
    }
    this.#retryLater();
  }

  /** Something went well: true when nothing is left to be tried again. */
  healed(): boolean {
    if (this.#writer.failing) return false;
    if (this.#degraded !== undefined) {
      this.#degraded = undefined;
      const { logger, directory } = this.#settings;
      logger.info({ directory }, 'the cache uses its directory again');
    }
    return true;
  }
}
