import { ClosedError, messageOf, OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkServerConfig } from '../../registry/config/checkServerConfig.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import type { ApplyReport, ServerState } from '../McpPool.js';
import { type Routes, type Transport, WIRES } from './Routes.js';

export interface ApplyHost {
  readonly routes: Routes;
  readonly logger: Logger;
  readonly start: (name: string) => Promise<void>;
  readonly state: (name: string) => ServerState;
}

/**
 * Makes the pools hold exactly `configs`. All are checked before anything happens. A server that stays on its wire is its
 * pool's own concern; one that changes wires is registered on the new one first, so that its name is never unknown.
 * @throws OptionError, nothing has happened then; AggregateError of what did not end cleanly, all the rest has
 */
export async function applyConfigs(configs: Iterable<ServerConfig>, host: ApplyHost): Promise<ApplyReport> {
  const { routes } = host;
  const { pools } = routes;
  const wanted = new Map<string, ServerConfig>();
  for (const config of configs) {
    checkServerConfig(config);
    if (wanted.has(config.name)) throw new OptionError('name', config.name, 'a name that no other config has');
    wanted.set(config.name, typed(config, routes));
  }
  const of = (wire: Transport | undefined): ServerConfig[] =>
    [...wanted.values()].filter(({ transport }) => transport === wire);
  for (const wire of WIRES) pools[wire].check(of(wire));
  pools.http.check(of(undefined).map(asHttp));
  // From here on it happens, whole.
  const before = routes.names();
  const held = new Set(before);
  const leaving: Promise<void>[] = [];
  for (const name of before) if (!wanted.has(name)) leaving.push(leave(name, routes));
  const moved = [...wanted.values()].filter((config) => held.has(config.name) && moves(config, routes));
  const wereUp = moved.map(({ name }) => name).filter((name) => isUp(host.state(name)));
  for (const config of moved) leaving.push(move(config, routes));
  for (const config of of(undefined)) {
    if (!held.has(config.name)) routes.hold(config);
  }
  const keep = (name: string): boolean => wanted.get(name)?.transport === undefined && wanted.has(name);
  const applied = Promise.allSettled(WIRES.map((wire) => pools[wire].apply(of(wire), { keep })));
  for (const name of wereUp) {
    // How it goes is told by events and state; the config was applied either way.
    host
      .start(name)
      .catch((error: unknown) => host.logger.warn({ server: name, error: messageOf(error) }, 'restart failed'));
  }
  const results = await applied;
  const errors = [...results, ...(await Promise.allSettled(leaving))].flatMap((each) =>
    each.status === 'rejected' ? flat(each.reason) : [],
  );
  if (errors.length > 0) throw new AggregateError(errors, `${errors.length} server(s) did not end cleanly`);
  const again = new Set(moved.map(({ name }) => name));
  for (const each of results) {
    if (each.status === 'fulfilled') for (const name of each.value.restarted) again.add(name);
  }
  const names = [...wanted.keys()];
  return {
    added: names.filter((name) => !held.has(name)),
    removed: before.filter((name) => !wanted.has(name)),
    restarted: names.filter((name) => again.has(name)),
    unchanged: names.filter((name) => held.has(name) && !again.has(name)),
  };
}

/** A URL without a type, as the pool takes it that is asked first. */
export function asHttp(config: ServerConfig): ServerConfig {
  return { ...config, transport: 'http' } as ServerConfig;
}

/** A config without a type whose wire was found already keeps it. */
function typed(config: ServerConfig, routes: Routes): ServerConfig {
  if (config.transport !== undefined) return config;
  const pool = routes.find(config.name);
  const wire = (['http', 'sse'] as const).find((each) => routes.pools[each] === pool);
  if (pool === undefined || wire === undefined) return config;
  const found: ServerConfig = { ...config, transport: wire };
  return fingerprint(found) === pool.fingerprint(config.name) ? found : config;
}

/** Whether a held server must leave the place it is in. */
function moves(config: ServerConfig, routes: Routes): boolean {
  const undecided = routes.undecided.get(config.name);
  if (undecided === undefined) {
    return config.transport === undefined || routes.find(config.name) !== routes.pools[config.transport];
  }
  return config.transport !== undefined || undecided.fingerprint !== fingerprint(config);
}

/** The new place has the name before the old one lets go of it; resolves when that has. */
function move(config: ServerConfig, routes: Routes): Promise<void> {
  const { name, transport } = config;
  const old = routes.find(name);
  const undecided = routes.undecided.get(name);
  // A try may stand in the very pool that gets it.
  const ended = undecided?.end(new ClosedError(`server ${name}`));
  if (transport === undefined) routes.hold(config);
  else {
    routes.undecided.delete(name);
    routes.pools[transport].addServer(config);
    routes.set(name, routes.pools[transport]);
  }
  return ended ?? old?.removeServer(name, { reason: 'its wire changed' }) ?? Promise.resolve();
}

/** One that is in a pool goes by that pool's own `apply`. */
function leave(name: string, routes: Routes): Promise<void> {
  const undecided = routes.undecided.get(name);
  routes.undecided.delete(name);
  routes.forget(name);
  return undecided?.end(new ClosedError(`server ${name}`)) ?? Promise.resolve();
}

function isUp(state: ServerState): boolean {
  return state === 'ready' || state === 'starting' || state === 'degraded';
}

function flat(error: unknown): readonly unknown[] {
  return error instanceof AggregateError ? error.errors : [error];
}
