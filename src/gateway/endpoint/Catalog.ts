import type { Clock } from '../../core/clock.js';
import { messageOf, RpcError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ListItems, McpPool } from '../../pool/McpPool.js';
import { METHOD_NOT_FOUND } from '../rpc/failure.js';
import { within } from './within.js';

export interface CatalogOptions {
  readonly pool: McpPool;
  readonly listTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Route<T> {
  readonly server: string;
  /** Its name there. */
  readonly name: string;
  /** As clients of the aggregate see it. */
  readonly item: T;
}

type Named = ListItems['tools' | 'prompts'];

/**
 * What all servers offer under one roof: `server__name`, in the order of the servers. A server's list is kept until it
 * says that it changed, or starts anew; one that cannot be listed is left out and asked again next time.
 */
export class Catalog<K extends 'tools' | 'prompts'> {
  readonly #kind: K;
  readonly #options: CatalogOptions;
  readonly #lists = new Map<string, readonly Named[]>();
  readonly #loading = new Map<string, Promise<readonly Named[] | undefined>>();
  #routes: ReadonlyMap<string, Route<ListItems[K]>> | undefined;
  /** The servers that `#routes` is made of. */
  #routed: readonly string[] = [];

  constructor(kind: K, options: CatalogOptions) {
    this.#kind = kind;
    this.#options = options;
  }

  /** Forgets what `server` listed. */
  invalidate(server: string): void {
    this.#lists.delete(server);
    this.#loading.delete(server);
    this.#routes = undefined;
  }

  /** Every route by its exposed name. */
  async routes(): Promise<ReadonlyMap<string, Route<ListItems[K]>>> {
    const names = this.#options.pool.servers();
    const same = names.length === this.#routed.length && names.every((name, index) => name === this.#routed[index]);
    if (this.#routes !== undefined && same && names.every((name) => this.#lists.has(name))) return this.#routes;
    const lists = await Promise.all(names.map(async (server) => ({ server, items: await this.#list(server) })));
    const routes = new Map<string, Route<ListItems[K]>>();
    for (const { server, items } of lists) {
      for (const item of items ?? []) {
        const exposed = this.#free(routes, `${prefixOf(server)}__${item.name}`);
        routes.set(exposed, { server, name: item.name, item: { ...item, name: exposed } as ListItems[K] });
      }
    }
    this.#routes = routes;
    this.#routed = names;
    return routes;
  }

  /** Where `exposed` leads. An unknown name is looked for in servers that could not be listed so far. */
  async find(exposed: string): Promise<Route<ListItems[K]> | undefined> {
    return this.#routes?.get(exposed) ?? (await this.routes()).get(exposed);
  }

  /** One list per server at a time; undefined when the server has none to give now. */
  #list(server: string): Promise<readonly Named[] | undefined> {
    const known = this.#lists.get(server);
    if (known !== undefined) return Promise.resolve(known);
    const under = this.#loading.get(server) ?? this.#load(server);
    this.#loading.set(server, under);
    return under;
  }

  async #load(server: string): Promise<readonly Named[] | undefined> {
    const { pool, listTimeoutMs, logger, clock } = this.#options;
    await Promise.resolve(); // `#loading` must hold this load before it ends
    const mine = this.#loading.get(server);
    const keep = (items: readonly Named[]): readonly Named[] => {
      // One that was invalidated meanwhile may be of before the change.
      if (this.#loading.get(server) === mine) this.#lists.set(server, items);
      return items;
    };
    try {
      const capabilities = pool.info(server)?.capabilities;
      if (capabilities !== undefined && capabilities[this.#kind] === undefined) return keep([]);
      const bound = { clock, timeoutMs: listTimeoutMs };
      const list = await within(server, `${this.#kind}/list`, bound, (signal) =>
        pool.listAll(server, this.#kind, { signal }),
      );
      return keep(list.items);
    } catch (error) {
      if (error instanceof RpcError && error.rpcCode === METHOD_NOT_FOUND) return keep([]);
      logger.warn(
        { server, kind: this.#kind, error: messageOf(error) },
        'a server could not be listed and is left out',
      );
      return undefined;
    } finally {
      if (this.#loading.get(server) === mine) this.#loading.delete(server);
    }
  }

  #free(taken: ReadonlyMap<string, unknown>, name: string): string {
    let free = name;
    for (let n = 2; taken.has(free); n++) free = `${name}_${n}`;
    return free;
  }
}

/** A server's name as part of a tool's: what clients refuse in one becomes `_`. */
function prefixOf(server: string): string {
  return server.replace(/[^A-Za-z0-9_.-]/g, '_');
}
