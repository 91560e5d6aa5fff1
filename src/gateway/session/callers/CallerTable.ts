import type { Clock } from '../../../core/clock.js';
import { OptionError } from '../../../core/errors.js';
import type { Caller } from '../../../pool/McpPool.js';
import type { Era, ServerConfig } from '../../../registry/config/ServerConfig.js';
import { isSeveral, transportsOf } from '../../../registry/config/targets/targetsOf.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { GatewayPool } from '../../GatewayOptions.js';
import { askable } from '../../rpc/envelope.js';
import { withContext } from '../../users/withKey.js';
import { variantOrigin } from '../origin.js';
import { countedCaller } from './countedCaller.js';
import { isPoolFull } from './crowding.js';

/** What a session is to one server, as long as the server's config stays. */
interface Known {
  readonly config: ServerConfig;
  readonly caller: Caller | undefined;
}

/**
 * Who a session is to the pool. To a `bound` server it is a caller of its own, with a connection that is set up as its client
 * would: with its version, its name and all its capabilities. On a shared Streamable HTTP server, whose streams tell
 * whose request comes back, it has its capabilities; on the others it is like any other.
 */
export class CallerTable {
  readonly #pool: GatewayPool;
  readonly #clock: Clock;
  readonly #base: Caller | undefined;
  readonly #known = new WeakMap<Downstream, Map<string, Known>>();
  /** The one era of a server that turned out to speak no other. */
  readonly #onlyEra = new WeakMap<ServerConfig, Era>();
  /** Servers whose transport, found out at the start, cannot tell whose request comes back. */
  readonly #mute = new WeakSet<ServerConfig>();

  /** `base`: the principal whose sessions these are. */
  constructor(pool: GatewayPool, clock: Clock, base?: Caller) {
    this.#pool = pool;
    this.#clock = clock;
    this.#base = base;
  }

  /** Whom the pool is to know the session as; `address`: where what it is asked for comes from, of one that stands for clients from everywhere. */
  of(server: string, session: Downstream, address?: string): Caller | undefined {
    return countedCaller(this.#of(server, session), address);
  }

  #of(server: string, session: Downstream): Caller | undefined {
    const config = this.#pool.config(server);
    if (config === undefined) return this.#base;
    const all = this.#known.get(session) ?? new Map<string, Known>();
    const known = all.get(server);
    if (known?.config === config) return known.caller;
    const own = this.#make(config, session);
    const caller = this.#base === undefined ? own : own === undefined ? this.#base : withContext(this.#base, own);
    all.set(server, { config, caller });
    this.#known.set(session, all);
    return caller;
  }

  /** Whether that session's end may give a newcomer of the server a connection: it asked for it too, or the pool has no more and it has one of another. */
  makesRoom(server: string, session: Downstream): boolean {
    const known = this.#known.get(session);
    if (known?.has(server) === true) return true;
    if (!isPoolFull(this.#pool, this.#clock)) return false;
    return [...(known ?? [])].some(
      ([each, { config, caller }]) =>
        config.sharing === 'bound' && this.#pool.hasServer(each) && this.#pool.info(each, caller) !== undefined,
    );
  }

  /** How many connections of the server those sessions have that are up. */
  connections(server: string, sessions: Iterable<Downstream>): number {
    let count = 0;
    for (const session of sessions) {
      const known = this.#known.get(session)?.get(server);
      if (known !== undefined && this.#pool.info(server, known.caller) !== undefined) count++;
    }
    return count;
  }

  /** Each server that the session has asked for, and what it is there. */
  *callersOf(session: Downstream): Iterable<readonly [server: string, caller: Caller | undefined]> {
    for (const [server, { caller }] of this.#known.get(session) ?? []) yield [server, caller];
  }

  forget(session: Downstream): void {
    this.#known.delete(session);
  }

  /** The era of the connection that a session's calls run on; undefined before there was one. */
  eraOf(server: string, session: Downstream): Era | undefined {
    const config = this.#pool.config(server);
    const only = config === undefined ? undefined : this.#onlyEra.get(config);
    return only ?? this.#pool.info(server, this.of(server, session) ?? this.#base ?? {})?.era;
  }

  /** A connection of that session is up: what it speaks, of what the session asked for, is known from here on. */
  learn(server: string, session: Downstream): void {
    const config = this.#pool.config(server);
    const known = this.#known.get(session)?.get(server);
    if (config === undefined || known?.caller?.era === undefined || known.config !== config) return;
    const era = this.#pool.info(server, known.caller)?.era;
    if (era === undefined || era === known.caller.era) return;
    this.#onlyEra.set(config, era);
    if (config.sharing !== 'bound') this.#known.get(session)?.delete(server);
  }

  /** Whether the server's transport tells whose request comes back, as far as is known. */
  attributes(config: ServerConfig): boolean {
    return !this.#mute.has(config) && transportsOf(config).every((each) => each !== 'stdio' && each !== 'sse');
  }

  /**
   * A call of the session failed. True when it was refused because of what was found out just now: its server's transport tells not
   * whose request comes back, or it does not speak the session's era. From here on the session is another caller there, and the
   * call may be made again.
   */
  failed(server: string, session: Downstream, error: unknown): boolean {
    const config = this.#pool.config(server);
    const cause = error instanceof Error && error.cause instanceof OptionError ? error.cause : error;
    if (config === undefined || !(cause instanceof OptionError)) return false;
    const known = this.#known.get(session);
    // Of several calls that were made before it was found out, each is made again.
    if (cause.option === 'caller.era') {
      if (!this.#onlyEra.has(config)) this.#onlyEra.set(config, 'legacy');
      if (known?.get(server)?.caller?.era !== undefined) known.delete(server);
      return true;
    }
    if (cause.option !== 'caller.capabilities' || !(this.attributes(config) || this.#mute.has(config))) return false;
    this.#mute.add(config);
    known?.delete(server);
    return true;
  }

  #make(config: ServerConfig, session: Downstream): Caller | undefined {
    const { key, capabilities, clientInfo, protocolVersion } = session;
    const era = this.#eraFor(config, session);
    // The process that there is may be one for all: another is not kept for an era that the server does not speak.
    const asks = {
      ...(era && { era }),
      ...(era === 'modern' && transportsOf(config).includes('stdio') && { eraOnly: true }),
    };
    // A session's state in its server lives as long as the session. Those without a session hold no state.
    const keepAlive = session.era === 'legacy';
    // Its failures, and what leads its calls back to one of several targets, are those of where it asks from.
    const { origin } = session;
    const from = this.#base?.principal === undefined && origin !== undefined ? { origin } : undefined;
    const own = { ...asks, ...from, ...(capabilities && { capabilities }) };
    if (config.sharing === 'bound') {
      return { ...own, key, keepAlive, ...(clientInfo && { clientInfo }), ...(protocolVersion && { protocolVersion }) };
    }
    const asked = era === 'modern' || !this.attributes(config) ? undefined : askable(capabilities);
    // By it a server's `hash` keeps what one session asks on one target.
    const hashed = isSeveral(config) && config.balance === 'hash' ? { key } : undefined;
    if (asked === undefined && era === undefined && hashed === undefined && from === undefined) return undefined;
    return { ...asks, ...hashed, ...from, ...(asked && { capabilities: asked, ...variantOrigin(origin, asked) }) };
  }

  /** A server that speaks one era alone is asked for none, so that all its clients share its connections. */
  #eraFor(config: ServerConfig, session: Downstream): Era | undefined {
    if (config.era === 'legacy' || config.era === 'modern' || this.#onlyEra.has(config)) return undefined;
    // The connection of no caller in particular was asked for the modern era first.
    const found = transportsOf(config).includes('stdio')
      ? undefined
      : this.#pool.info(config.name, this.#base ?? {})?.era;
    if (found === 'legacy') this.#onlyEra.set(config, found);
    return found === 'legacy' ? undefined : session.era;
  }
}
