import { dirname, resolve } from 'node:path';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { OptionError, ServerNotFoundError } from '../../core/errors.js';
import { Emitter, type Listener } from '../../core/events.js';
import { editFile } from '../../core/files/editFile.js';
import { readWhole } from '../../core/files/readWhole.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { withDefaults } from '../../core/options.js';
import { checkServerConfig } from './checkServerConfig.js';
import { type ParsedConfig, type ParseOptions, readConfigFile } from './configFile.js';
import { escapeVariables } from './expandVariables.js';
import { fingerprint } from './fingerprint.js';
import type { ServerConfig, TargetReach } from './ServerConfig.js';
import { isSeveral } from './targets/targetsOf.js';

export interface ServerRegistryOptions {
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

/** What a change did, by name; each name is in one list. A server is changed when its fingerprint is another. */
export interface RegistryChange {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: readonly string[];
  /** Held as before, although the file has an entry of that name: it is broken, or a variable of it is unset. */
  readonly kept: readonly string[];
}

export interface RegistryEvents {
  readonly added: { readonly config: ServerConfig };
  readonly removed: { readonly config: ServerConfig };
  readonly changed: { readonly config: ServerConfig; readonly previous: ServerConfig };
}

/** What `inspect()` gives. */
export interface ServerRegistryInspection {
  readonly servers: readonly {
    readonly name: string;
    readonly transport: ServerConfig['transport'];
    readonly enabled: boolean;
    readonly fingerprint: string;
  }[];
  readonly closing: boolean;
}

interface Held {
  readonly config: ServerConfig;
  readonly fingerprint: string;
  /** Its entry as a file had it: what `save` writes, so that references are kept and secrets do not reach the disk. */
  readonly origin: { readonly entry: object; readonly folder: string } | undefined;
}

/** Server configs by name: validated, observed, read from and written to the `mcpServers` file shape. Starts nothing. */
export class ServerRegistry implements Closeable, AsyncDisposable {
  readonly #scope: CloseScope;
  readonly #events: Emitter<RegistryEvents>;
  readonly #held = new Map<string, Held>();

  constructor(options: ServerRegistryOptions = {}) {
    const { logger = silentLogger } = withDefaults('ServerRegistry', options, {}, { logger: true });
    this.#events = new Emitter((error, event) => logger.error({ error, event }, 'a registry listener threw'));
    this.#scope = new CloseScope('ServerRegistry', { logger, onRelease: () => this.#events.clear() });
  }

  get size(): number {
    return this.#held.size;
  }

  /** What it holds, as one plain object: names, transports and fingerprints, nothing that may be a secret. */
  inspect(): ServerRegistryInspection {
    const servers = [...this.#held.values()].map(({ config, fingerprint: print }) => ({
      name: config.name,
      transport: config.transport,
      enabled: config.enabled !== false,
      fingerprint: print,
    }));
    return { servers, closing: this.#scope.closing };
  }

  /** The names, in the order they were added. */
  names(): string[] {
    return [...this.#held.keys()];
  }

  /** The configs, in the order they were added. */
  list(): ServerConfig[] {
    return [...this.#held.values()].map(({ config }) => config);
  }

  has(name: string): boolean {
    return this.#held.has(name);
  }

  /** @throws ServerNotFoundError */
  get(name: string): ServerConfig {
    return this.#find(name).config;
  }

  /** @throws ServerNotFoundError */
  fingerprint(name: string): string {
    return this.#find(name).fingerprint;
  }

  /** @throws OptionError for a bad config or a name that is taken */
  add(config: ServerConfig): void {
    this.#scope.assertOpen();
    if (this.#held.has(config.name)) throw new OptionError('name', config.name, 'a name that is not taken');
    this.#put(hold(config));
  }

  /** Adds or replaces. True when something changed. @throws OptionError for a bad config; the old one stays then */
  set(config: ServerConfig): boolean {
    this.#scope.assertOpen();
    return this.#put(hold(config)) !== 'unchanged';
  }

  /** True when it was there. */
  remove(name: string): boolean {
    this.#scope.assertOpen();
    const held = this.#held.get(name);
    if (held === undefined) return false;
    this.#held.delete(name);
    this.#events.emit('removed', { config: held.config });
    return true;
  }

  /** Holds exactly `configs` afterwards. All are checked first: a bad or doubled one changes nothing. @throws OptionError */
  replace(configs: Iterable<ServerConfig>): RegistryChange {
    this.#scope.assertOpen();
    return this.#replace([...configs].map((config) => hold(config)));
  }

  /**
   * Holds the servers of the file afterwards. One whose entry is broken stays as it was, if it was held, and is in `kept`; what
   * is wrong is in `problems`. A file that cannot be read or parsed at all changes nothing: a slip of the editor stops no server.
   */
  async load(file: string, options: Omit<ParseOptions, 'file'> = {}): Promise<ParsedConfig & RegistryChange> {
    this.#scope.assertOpen();
    const parsed = await this.#scope.track(readConfigFile(file, options));
    return { ...parsed, ...this.update(parsed, file) };
  }

  /** The same with a file that was read and parsed already, as a `ConfigWatcher` tells it. */
  update(parsed: ParsedConfig, file: string): RegistryChange {
    this.#scope.assertOpen();
    const folder = dirname(resolve(file));
    if (parsed.problems.some(({ server }) => server === undefined)) {
      return { added: [], removed: [], changed: [], unchanged: this.names(), kept: [] };
    }
    return this.#replace(
      parsed.servers.map((config) => hold(config, { entry: parsed.entries.get(config.name) as object, folder })),
      this.names().filter((name) => parsed.broken.has(name)),
    );
  }

  /**
   * Writes all to `file` at once or not at all, readable by this user alone. Servers that came from a file and have not
   * changed are written as they stood there, `${VAR}` and all; the file's other root fields are kept.
   */
  async save(file: string): Promise<void> {
    this.#scope.assertOpen();
    const folder = dirname(resolve(file));
    const mcpServers = Object.fromEntries([...this.#held].map(([name, held]) => [name, entryOf(held, folder)]));
    await this.#scope.track(editFile(file, () => write(file, mcpServers)));
  }

  on<K extends keyof RegistryEvents>(event: K, listener: Listener<RegistryEvents[K]>): Disposable {
    this.#scope.assertOpen();
    return this.#events.on(event, listener);
  }

  /** Waits for a `save` or `load` under way; then forgets the listeners. What it holds can still be read. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #find(name: string): Held {
    const held = this.#held.get(name);
    if (held === undefined) throw new ServerNotFoundError(name);
    return held;
  }

  #replace(next: readonly Held[], kept: readonly string[] = []): RegistryChange {
    const names = new Set<string>();
    for (const { config } of next) {
      if (names.has(config.name)) throw new OptionError('name', config.name, 'each name once');
      names.add(config.name);
    }
    const stay = new Set([...names, ...kept]);
    const removed = this.names().filter((name) => !stay.has(name));
    for (const name of removed) this.remove(name);
    const change = { added: [] as string[], changed: [] as string[], unchanged: [] as string[] };
    for (const held of next) change[this.#put(held)].push(held.config.name);
    return { ...change, removed, kept };
  }

  #put(held: Held): 'added' | 'changed' | 'unchanged' {
    const { config } = held;
    const previous = this.#held.get(config.name);
    this.#held.set(config.name, held);
    if (previous === undefined) {
      this.#events.emit('added', { config });
      return 'added';
    }
    if (previous.fingerprint === held.fingerprint) return 'unchanged';
    this.#events.emit('changed', { config, previous: previous.config });
    return 'changed';
  }
}

function hold(config: ServerConfig, origin?: Held['origin']): Held {
  const copy = structuredClone(checkServerConfig(config));
  return { config: copy, fingerprint: fingerprint(copy), origin };
}

/** The entry that, in a file in `folder`, is parsed into the config. */
function entryOf({ config, origin }: Held, folder: string): object {
  const { name: _, transport, enabled, ...rest } = config;
  const cwd = 'cwd' in rest && rest.cwd !== undefined ? { cwd: escapeVariables(resolve(rest.cwd)) } : {};
  if (origin !== undefined) return origin.folder === folder ? origin.entry : { ...origin.entry, ...cwd };
  const entry: Record<string, unknown> = { ...rest, ...cwd };
  if (transport !== 'stdio') entry['type'] = transport;
  if (enabled !== undefined) entry['enabled'] = enabled;
  escapeReach(entry);
  if (isSeveral(config)) {
    const written = (reach: TargetReach): object => {
      const own = 'cwd' in reach && reach.cwd !== undefined ? { cwd: escapeVariables(resolve(reach.cwd)) } : {};
      return escapeReach({ ...reach, ...own });
    };
    entry['targets'] = config.targets.map(written);
    for (const each of ['mirror', 'canary'] as const) {
      const other = config[each];
      if (other !== undefined) entry[each] = { ...other, to: written(other.to) };
    }
    if (transport === 'stdio') entry['type'] = transport;
    if (transport === undefined) delete entry['type'];
  }
  return entry;
}

function escapeReach(entry: Record<string, unknown>): object {
  for (const field of ['command', 'url', 'args', 'env', 'headers']) {
    if (entry[field] !== undefined) entry[field] = escapeAll(entry[field]);
  }
  return entry;
}

function escapeAll(value: unknown): unknown {
  if (typeof value === 'string') return escapeVariables(value).replace(/^~(?=[/\\]|$)/, `\${~}`);
  if (Array.isArray(value)) return value.map(escapeAll);
  return Object.fromEntries(Object.entries(value as object).map(([key, each]) => [key, escapeAll(each)]));
}

async function write(file: string, mcpServers: Record<string, unknown>): Promise<void> {
  const others = await rootOf(file);
  const text = JSON.stringify(
    { ...others, mcpServers },
    (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? 'Infinity' : value),
    2,
  );
  // Few programs save a file: the others need not load it.
  const { default: writeFileAtomic } = await import('write-file-atomic');
  await writeFileAtomic(file, `${text}\n`, { mode: 0o600 });
}

/** The file's root as it is now; nothing when there is no such file. A file that is not JSON is not overwritten. */
async function rootOf(file: string): Promise<Record<string, unknown>> {
  try {
    return JSON.parse(await readWhole(file)) as Record<string, unknown>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new OptionError('file', file, 'a file that does not exist yet or is JSON', error);
  }
}
