import { OptionError } from '../core/errors.js';
import { checkCount, checkGiven, checkIterable, checkOptions, checkText, withDefaults } from '../core/options.js';
import type { McpPool } from '../pool/McpPool.js';

/** What a gateway tells of itself: its `stats`. */
export interface GatewayFigures {
  readonly sessions: number;
  readonly streams: number;
  readonly inFlight: number;
  readonly refused: number;
  readonly droppedNotices: number;
  /** By why. */
  readonly cutResponses?: Readonly<Record<string, number>>;
  readonly heldBytes: number;
}

/** A table of rate limiters, such as `MultiServerRateLimiter`. */
export interface LimiterFigures {
  stats(server: string): { readonly blockedCount: number; readonly pausedForMs?: number } | undefined;
}

export interface InstrumentOptions {
  /** The pool whose calls are counted. Lent. */
  readonly pool: McpPool;
  /** The gateway in front of it, for its sessions, streams and buffers. Lent. @defaultValue none */
  readonly gateway?: { readonly stats: GatewayFigures };
  /** Limiters whose waiting calls and pauses are told. Lent. @defaultValue none */
  readonly limiter?: LimiterFigures;
  /** Tools that have a label of their own; the rest is `other`. @defaultValue the first `maxTools` of each server */
  readonly tools?: readonly string[];
  /**
   * Tools of one server that have a label without an allow-list, from 0; the rest is `other`. Those of which no call went well so far,
   * which clients may make up, get half of them; a name of more than 128 characters none. @defaultValue 100
   */
  readonly maxTools?: number;
  /** Servers that have a label, from 1; the rest is `other`. @defaultValue 1000 */
  readonly maxServers?: number;
  /** Principals that calls are told apart by, in a label of their own; the rest is `other`. @defaultValue none: no metric names a principal */
  readonly principals?: readonly string[];
}

export const INSTRUMENT_DEFAULTS = Object.freeze({ maxTools: 100, maxServers: 1_000 });

export interface CheckedInstrument {
  readonly gateway: { readonly stats: GatewayFigures } | undefined;
  readonly limiter: LimiterFigures | undefined;
  readonly tools: readonly string[] | undefined;
  readonly principals: readonly string[] | undefined;
  readonly maxTools: number;
  readonly maxServers: number;
}

/** @throws OptionError */
export function checkInstrumentOptions(options: InstrumentOptions): CheckedInstrument {
  const others = { pool: true, gateway: true, limiter: true, tools: true, principals: true } as const;
  const all = withDefaults('Instrument', options, INSTRUMENT_DEFAULTS, others);
  if (typeof all.pool?.on !== 'function') throw new OptionError('pool', all.pool, 'a pool of servers');
  for (const option of ['tools', 'principals'] as const)
    for (const name of checkIterable(option, all[option] ?? [], 'names')) checkText(option, name);
  return {
    gateway: checkGiven(all.gateway, (gateway) => checkOptions('gateway', gateway, 'a Gateway')),
    limiter: checkGiven(all.limiter, (limiter) => checkOptions('limiter', limiter, 'a limiter')),
    tools: all.tools,
    principals: all.principals,
    maxTools: checkCount('maxTools', all.maxTools),
    maxServers: checkCount('maxServers', all.maxServers, { min: 1 }),
  };
}
