import type { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { PoolkitError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkArray, checkOneOf, withDefaults } from '../../core/options.js';
import { ownText } from '../../core/text/ownText.js';

/** Of what a client makes up, such as a name: so much is in an entry. */
const MAX_TEXT_CHARS = 1_024;

const FIELDS = [
  'kind',
  'from',
  'server',
  'method',
  'tool',
  'prompt',
  'uri',
  'principal',
  'era',
  'attempt',
  'durationMs',
  'outcome',
  'code',
  'resultBytes',
  'params',
] as const;

/** What an entry may say. `params` is all that was sent: leave it out where that may hold secrets. */
export type AuditField = (typeof FIELDS)[number];

export interface AuditOptions {
  /** Where entries go: one for each call when it ends. */
  readonly logger: Logger;
  /** How loud. @defaultValue 'info' */
  readonly level?: 'debug' | 'info' | 'warn';
  /** What each entry says. @defaultValue all but `params` and `resultBytes` */
  readonly fields?: readonly AuditField[];
  /** Which calls. @defaultValue requests of clients */
  readonly when?: (call: MiddlewareCall) => boolean;
  /** Measures time; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const AUDIT_DEFAULTS = Object.freeze({
  level: 'info',
  fields: Object.freeze(FIELDS.filter((field) => field !== 'params' && field !== 'resultBytes')),
  when: (call: MiddlewareCall): boolean => call.kind === 'request' && call.from === 'client',
} as const);

/** Logs every call with its outcome: who asked what of which server, how long it took, and what came of it. @throws OptionError */
export function audit(given: AuditOptions): Middleware {
  const {
    logger,
    level,
    fields,
    when,
    clock = systemClock,
  } = withDefaults('audit', given, AUDIT_DEFAULTS, {
    logger: true,
    clock: true,
  });
  checkOneOf('level', level, ['debug', 'info', 'warn']);
  for (const field of checkArray('fields', fields, 'an array of fields')) checkOneOf('fields', field, FIELDS);
  const log = (
    call: MiddlewareCall,
    startMs: number,
    result: CallResult | object | undefined,
    error: unknown,
  ): void => {
    const all = (field: AuditField): unknown => {
      switch (field) {
        case 'principal':
          return call.caller?.principal;
        case 'durationMs':
          return Math.round((clock.now() - startMs) * 1_000) / 1_000;
        case 'outcome':
          return error === undefined ? outcomeOf(result) : 'error';
        case 'code':
          return error instanceof PoolkitError ? error.code : undefined;
        case 'resultBytes':
          return result !== undefined && 'bytes' in result ? (result as CallResult).bytes.length : undefined;
        default:
          return call[field];
      }
    };
    const cut = (value: unknown): unknown => (typeof value === 'string' ? ownText(value, MAX_TEXT_CHARS) : value);
    const entry = fields.map((field) => [field, cut(all(field))] as const).filter(([, value]) => value !== undefined);
    logger[level](Object.fromEntries(entry), 'call');
  };
  return async (call, next) => {
    if (!when(call)) return next();
    const startMs = clock.now();
    let result: CallResult;
    try {
      result = await next();
    } catch (error) {
      log(call, startMs, undefined, error ?? new Error('rejected'));
      throw error;
    }
    log(call, startMs, result, undefined);
    return result;
  };
}

const IS_ERROR = Buffer.from('"isError":true');

/** A tool that failed is a result. Its bytes are searched, not parsed. */
function outcomeOf(result: CallResult | object | undefined): 'ok' | 'tool error' {
  if (result === undefined || !('bytes' in result)) return 'ok';
  const { raw } = result as CallResult;
  const failed =
    raw instanceof Uint8Array
      ? Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).includes(IS_ERROR)
      : (raw as { isError?: unknown } | undefined)?.isError === true;
  return failed ? 'tool error' : 'ok';
}
