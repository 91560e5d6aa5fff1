import { systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { ParsedConfig } from '../../registry/config/configFile.js';
import type { Curation } from '../../registry/config/curation/Curation.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { ServerRegistry } from '../../registry/config/ServerRegistry.js';
import { ConfigWatcher } from '../../registry/config/watch/ConfigWatcher.js';
import type { LoadedConfig } from '../configs.js';
import type { Output } from '../output/output.js';

export interface LiveConfigOptions {
  /** What the file said at the start. */
  readonly config: LoadedConfig;
  readonly pool: McpPool;
  readonly output: Output;
  readonly logger: Logger;
  /** Starts a server that is new or has changed, and tells what is wrong with it. */
  readonly start: (name: string) => Promise<void>;
  /** What clients see of the tools is another now. */
  readonly curate: (curation: Curation) => void;
  /** What this process can have of what the file says now. */
  readonly usable: (parsed: ParsedConfig) => ParsedConfig;
  /** What this process has of a server. */
  readonly share: (config: ServerConfig) => ServerConfig;
}

/** How long the edit of a file may lie back that a signal is for. */
const RECENT_MS = 10_000;

/**
 * Keeps a pool's servers as its config file says, change by change. What cannot be read or is wrong is told, and leaves the
 * servers as they were: all of them, or the one that it is about.
 */
export class LiveConfig {
  readonly #options: LiveConfigOptions;
  readonly #registry: ServerRegistry;
  readonly #watcher: ConfigWatcher;
  #changes = 0;
  /** Of those, how many a `reload` has told of; and when the last one was found. */
  #told = 0;
  #changedMs = Number.NEGATIVE_INFINITY;
  #curation: Curation;

  constructor(options: LiveConfigOptions) {
    this.#options = options;
    const { config, logger } = options;
    this.#registry = new ServerRegistry({ logger });
    this.#registry.update(config, config.file);
    this.#curation = config.curation;
    this.#watcher = new ConfigWatcher({ file: config.file, logger }, config.text);
    this.#watcher.on('change', (changed) => {
      this.#changes++;
      this.#changedMs = systemClock.now();
      void this.#take(changed);
    });
  }

  /**
   * Looks at the file now; resolves when what it says is taken, to whether it said something else than at the last `reload`, or ten
   * seconds ago: a look of its own may have found that before.
   */
  async reload(): Promise<boolean> {
    const told = this.#told;
    const sinceMs = systemClock.now() - RECENT_MS;
    await this.#watcher.check();
    this.#told = this.#changes;
    return this.#changes > told && this.#changedMs > sinceMs;
  }

  async close(): Promise<void> {
    await Promise.all([this.#watcher.close(), this.#registry.close()]);
  }

  /** A server that stays as it was keeps its rules, too: what was denied stays denied. */
  #curate(curation: Curation, kept: readonly string[]): void {
    const before = this.#curation.servers ?? {};
    const rules = kept.flatMap((name) => (Object.hasOwn(before, name) ? [[name, before[name]] as const] : []));
    const servers = { ...curation.servers, ...Object.fromEntries(rules) } as NonNullable<Curation['servers']>;
    const next = { ...curation, servers };
    if (JSON.stringify(next) === JSON.stringify({ ...this.#curation, servers: before })) return;
    this.#curation = next;
    this.#options.curate(next);
  }

  /** Never rejects. Rules and servers change at once; servers of an earlier change may still be ending. */
  async #take(newest: ParsedConfig): Promise<void> {
    const { pool, output, start, share, usable } = this.#options;
    const { file } = this.#options.config;
    try {
      const parsed = usable(newest);
      for (const warning of parsed.warnings) output.warning(warning);
      for (const problem of parsed.problems) output.problem(problem);
      const { added, changed, removed, kept } = this.#registry.update(parsed, file);
      if (parsed.problems.some(({ server }) => server === undefined)) {
        output.warning(`${file}: nothing of it is taken; the servers stay as they were`);
        return;
      }
      if (kept.length > 0) output.warning(`${file}: as it was before: ${kept.join(', ')}`);
      // Before a server is there that has rules.
      this.#curate(parsed.curation, kept);
      if (added.length + changed.length + removed.length > 0) await pool.apply(this.#registry.list().map(share));
      output.event('reloaded', { config: file, added, changed, removed, kept });
      // A later change may have removed it meanwhile.
      const wanted = [...added, ...changed].filter(
        (name) => this.#registry.has(name) && this.#registry.get(name).enabled !== false,
      );
      void Promise.all(wanted.map(start));
    } catch (error) {
      // The pool closes, for example.
      output.failure(`${file}: could not be applied: ${messageOf(error)}`);
    }
  }
}
