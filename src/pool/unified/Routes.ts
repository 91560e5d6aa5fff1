import { OptionError, ServerNotFoundError } from '../../core/errors.js';
import { nearNames } from '../../core/nearNames.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import type { ServerState } from '../McpPool.js';
import type { ResolvedPoolOptions } from '../server/options.js';
import type { ServerPool } from '../server/ServerPool.js';
import { Undecided } from './Undecided.js';

export type Transport = 'stdio' | 'http' | 'sse';

export const WIRES: readonly Transport[] = ['stdio', 'http', 'sse'];

export type Pools = Readonly<Record<Transport, ServerPool>>;

/** Which pool each name is in, and the names whose wire is not known yet. */
export class Routes {
  readonly pools: Pools;
  /** While a name is in here, a server of that name in a pool is no more than a try. */
  readonly undecided = new Map<string, Undecided>();
  /** Forgotten whole when a pool lost a name: it may be one of these, and it may be in another pool by now. */
  readonly #byName = new Map<string, ServerPool>();
  #removals = 0;
  readonly #options: ResolvedPoolOptions;
  readonly #onState: (server: string, state: ServerState, previous: ServerState) => void;

  constructor(
    pools: Pools,
    options: ResolvedPoolOptions,
    /** Told of the states of servers whose wire is not known. */
    onState: (server: string, state: ServerState, previous: ServerState) => void,
  ) {
    this.pools = pools;
    this.#options = options;
    this.#onState = onState;
  }

  /** The pool of a name that was asked for before: the hot path, one look-up. */
  get(name: string): ServerPool | undefined {
    const { stdio, http, sse } = this.pools;
    const removals = stdio.removals + http.removals + sse.removals;
    if (removals !== this.#removals) {
      this.#removals = removals;
      this.#byName.clear();
    }
    return this.#byName.get(name);
  }

  /** The pool of a name, also of one that was added to that pool itself. */
  find(name: string): ServerPool | undefined {
    if (this.undecided.has(name)) return undefined;
    const routed = this.get(name);
    if (routed !== undefined) return routed;
    const found = WIRES.map((wire) => this.pools[wire]).find((pool) => pool.hasServer(name));
    if (found !== undefined) this.#byName.set(name, found);
    return found;
  }

  /** @throws ServerNotFoundError with the names that are near */
  known(name: string): ServerPool {
    const pool = this.find(name);
    if (pool === undefined) throw new ServerNotFoundError(name, nearNames(name, this.names()));
    return pool;
  }

  /** Takes in a server whose wire is not known, in the place of what had its name. */
  hold(config: ServerConfig): void {
    const { name } = config;
    this.#byName.delete(name);
    const undecided = new Undecided(config, {
      pools: this.pools,
      pool: this.#options,
      onDecided: (pool) => {
        this.undecided.delete(name);
        this.#byName.set(name, pool);
      },
      onState: (state, previous) => this.#onState(name, state, previous),
    });
    this.undecided.set(name, undecided);
  }

  set(name: string, pool: ServerPool): void {
    this.#byName.set(name, pool);
  }

  forget(name: string): void {
    this.#byName.delete(name);
  }

  has(name: string): boolean {
    return this.undecided.has(name) || this.find(name) !== undefined;
  }

  names(): string[] {
    return [...new Set([...WIRES.flatMap((wire) => this.pools[wire].servers()), ...this.undecided.keys()])];
  }
}

/** A name belongs to one pool. @throws OptionError */
export function assertDistinct(pools: readonly (ServerPool | undefined)[]): void {
  const names = new Set<string>();
  for (const name of pools.flatMap((pool) => pool?.servers() ?? [])) {
    if (names.has(name)) throw new OptionError('name', name, 'a name that one pool only has');
    names.add(name);
  }
}
