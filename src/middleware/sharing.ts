import type { CallResult } from '../connection/calls/CallResult.js';
import type { MiddlewareCall } from '../connection/calls/Middleware.js';
import { isForOne, isLeased } from '../connection/calls/MiddlewareChain.js';
import { costsMore, MAX_READ_BYTES, MAX_TOLD_COST } from '../connection/channel/codec/parsingCost.js';
import { RPC_CODES } from '../connection/protocol/rpcCodes.js';
import { RpcError } from '../core/errors.js';

/** What only reads, by the protocol. */
const READS: ReadonlySet<string> = new Set([
  'tools/list',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'completion/complete',
]);
const TOOL = 'tools/call';

/** Whether a call changes nothing: by its method, or that of a tool by its caller's word. */
export const isRead = ({ method, idempotent }: MiddlewareCall): boolean =>
  READS.has(method) || (method === TOOL && idempotent);

/** Whether what a call brings is for its caller alone, whatever it asks: it may neither be shared nor kept. */
export const isOnesOwn = (call: MiddlewareCall): boolean =>
  (!READS.has(call.method) && call.method !== TOOL) || isLeased(call) || isForOne(call.params);

/** What a result says of itself. */
export interface Said {
  /** For its caller alone: a question, what goes on with it, or a task. */
  readonly isOnesOwn: boolean;
  readonly failed: boolean;
  readonly isPublic: boolean;
  readonly ttlMs: number | undefined;
}

/** Results without these words are not looked into. */
const WORDS = ['"ttlMs"', '"isError"', '"resultType"', '"requestState"', '"task"'] as const;
const NOTHING: Said = Object.freeze({ isOnesOwn: false, failed: false, isPublic: false, ttlMs: undefined });
/** What takes too long to be read is passed on as it is. */
const UNREAD: Said = Object.freeze({ ...NOTHING, isOnesOwn: true });

/** Looked at once, however many share it. */
const said = new WeakMap<CallResult, Said>();

export function saidOf(result: CallResult): Said {
  const known = said.get(result) ?? read(result);
  said.set(result, known);
  return known;
}

function read(result: CallResult): Said {
  const { raw } = result;
  if (raw instanceof Uint8Array) {
    const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
    if (!WORDS.some((word) => bytes.includes(word))) return NOTHING;
    if (bytes.length > MAX_READ_BYTES || costsMore(bytes, MAX_TOLD_COST)) return UNREAD;
  }
  const value = (result.value ?? {}) as Record<string, unknown>;
  const { ttlMs, cacheScope, isError, resultType = 'complete', requestState, task } = value;
  return {
    isOnesOwn: resultType !== 'complete' || requestState !== undefined || task !== undefined,
    failed: isError === true,
    isPublic: cacheScope === 'public',
    ttlMs: typeof ttlMs === 'number' ? ttlMs : undefined,
  };
}

/** The same of an error: a server may ask a client in it to open a URL. */
export const isOnesOwnError = (error: unknown): boolean =>
  error instanceof RpcError && error.rpcCode === RPC_CODES.urlElicitationRequired;

interface Group<T> {
  readonly value: T;
  running: number;
}

/**
 * Calls that are under way, in groups: those of one server and principal that began since it was last asked something. What such a
 * question belongs to is not known of each, so that it concerns the whole group.
 */
export class UnderWay<T> {
  readonly #make: () => T;
  readonly #groups = new Map<string, Group<T>>();

  constructor(make: () => T) {
    this.#make = make;
  }

  /** A call, with what its group has. */
  async run<R>(call: MiddlewareCall, work: (group: T) => Promise<R>): Promise<R> {
    const place = placeOf(call);
    const group = this.#groups.get(place) ?? { value: this.#make(), running: 0 };
    this.#groups.set(place, group);
    group.running++;
    try {
      return await work(group.value);
    } finally {
      if (--group.running === 0 && this.#groups.get(place) === group) this.#groups.delete(place);
    }
  }

  /** A message of a server: of a question, the group that it concerns. What comes from now on is of another. */
  asked(message: MiddlewareCall): T | undefined {
    if (message.kind !== 'request') return undefined;
    const place = placeOf(message);
    const group = this.#groups.get(place);
    this.#groups.delete(place);
    return group?.value;
  }
}

const placeOf = ({ server, caller }: MiddlewareCall): string => JSON.stringify([server, caller?.principal]);
