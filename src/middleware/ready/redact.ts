import { RE2JS } from 're2js';
import { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { skipString } from '../../connection/channel/codec/members.js';
import { objectOf } from '../../connection/protocol/objectOf.js';
import { errorLike } from '../../core/errors/keptError.js';
import { AcquireTimeoutError, OptionError, PoolkitError, RpcError } from '../../core/errors.js';
import { checkBoolean, checkText, withDefaults } from '../../core/options.js';
import { inSlices } from '../../core/time/inSlices.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import {
  decodedInTurns,
  encodedInTurns,
  LONG_CHARS,
  replacedInTurns,
  STEP_CHARS,
  unescapedInTurns,
} from './longText.js';

export interface RedactOptions {
  /**
   * What is replaced, wherever it stands in a string: regular expressions in the syntax of RE2, which take a time that is linear in
   * the text whatever a client or server sends. Flags go in front, as in `(?i)secret`.
   */
  readonly patterns: readonly string[];
  /** What stands in its place; `$1` is a group's text. @defaultValue '[redacted]' */
  readonly replacement?: string;
  /** Whether params are looked through, on their way to the one who is asked or told. @defaultValue true */
  readonly params?: boolean;
  /** Whether results are, on their way back, and errors: of what a server answers with message and data, of others what they quote of it. @defaultValue true */
  readonly results?: boolean;
  /** Which messages. @defaultValue all, of clients and of servers */
  readonly when?: (call: MiddlewareCall) => boolean;
}

export const REDACT_DEFAULTS = Object.freeze({
  replacement: '[redacted]',
  params: true,
  results: true,
  when: (): boolean => true,
});

/** Here a version of the protocol, which is a date, stays as it is. */
const HANDSHAKES: ReadonlySet<string> = new Set(['initialize', 'server/discover']);
const VERSION = /^\d{4}-\d{2}-\d{2}$/;
const META = '_meta';
/** What the protocol goes by in it: never redacted, since progress would go elsewhere. */
const OF_PROTOCOL =
  /^(?:progressToken|traceparent|tracestate|io\.modelcontextprotocol\/(?:protocolVersion|clientInfo|clientCapabilities|logLevel|related-task|subscriptionId))$/;

/**
 * Replaces what matches in every string of params, results and errors, names of members excepted. All else stays as it came, to the digit; a
 * message in which nothing matches is the one that came. @throws OptionError
 */
export function redact(given: RedactOptions): Middleware {
  const options = withDefaults('redact', given, REDACT_DEFAULTS, { patterns: true });
  const { replacement, params, results, when } = options;
  checkText('replacement', replacement);
  checkBoolean('params', params);
  checkBoolean('results', results);
  if (!Array.isArray(options.patterns) || options.patterns.length === 0) {
    throw new OptionError('patterns', options.patterns, 'one regular expression or more');
  }
  const patterns = options.patterns.map(compiled);
  const plain: Clean = {
    // To look whether anything matches takes a fraction of what replacing does.
    text: (text) =>
      patterns.reduce(
        (left, pattern) => (pattern.test(left) ? pattern.matcher(left).replaceAll(replacement) : left),
        text,
      ),
    isLong: (text) => text.length * patterns.length > STEP_CHARS,
    long: async (text) => {
      let left = text;
      for (const pattern of patterns)
        left = await replacedInTurns(left, pattern, (...match) => inPlace(match, pattern, replacement));
      return left;
    },
  };
  const sparing: Clean = { ...plain, text: (text) => (VERSION.test(text) ? text : plain.text(text)) };
  return async (call, next) => {
    if (!when(call)) return next();
    const clean = HANDSHAKES.has(call.method) ? sparing : plain;
    const own = params && call.params !== undefined ? await cleanedParams(call.params, clean) : call.params;
    const send = (): Promise<CallResult> =>
      own === call.params || own === undefined ? next() : next({ params: own as object as Record<string, unknown> });
    if (!results || call.kind !== 'request') return send();
    try {
      return await cleanedResult(await send(), clean);
    } catch (error) {
      throw error instanceof PoolkitError ? await cleanedError(error, clean) : error;
    }
  };
}

/** What the code of a caller goes by: it says no word of a peer. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'name',
  'code',
  'acted',
  'server',
  'method',
  'what',
  'option',
  'direction',
  'source',
  'dataText',
]);
/** So many causes are looked through, one behind the other; what lies deeper is left out. */
const MAX_CAUSES = 8;

/** An error of the same class and code. One of ours may quote what a peer wrote, and so may its fields and causes. */
async function cleanedError(error: unknown, clean: Clean, causes = MAX_CAUSES): Promise<unknown> {
  if (!(error instanceof Error)) return typeof error === 'string' ? cleaned(error, clean) : error;
  const message = await cleanedMessage(error.message, clean);
  const cause =
    causes > 0 && error.cause !== undefined ? await cleanedError(error.cause, clean, causes - 1) : undefined;
  let same = message === error.message && cause === error.cause;
  if (error instanceof AggregateError && causes > 0) {
    for (const each of error.errors) same &&= (await cleanedError(each, clean, causes - 1)) === each;
  }
  const fields = new Map<string, unknown>();
  for (const [name, value] of error instanceof PoolkitError ? Object.entries(error) : []) {
    const told = !OWN_FIELDS.has(name) && (typeof value === 'string' || name === 'data' || name === 'stderr');
    fields.set(name, told ? await cleaned(value, clean) : value);
    same &&= fields.get(name) === value;
  }
  if (error instanceof RpcError && error.dataText !== undefined) {
    fields.set('dataText', await cleanedText(error.dataText, clean));
    same &&= fields.get('dataText') === error.dataText;
  }
  if (same) return error;
  if (error instanceof AcquireTimeoutError) fields.set('detail', { ...error.detail, lastCreateError: cause });
  return errorLike(error, message, cause, fields);
}

/** A message may quote the JSON of an answer: what matches once it is read is replaced, too. */
async function cleanedMessage(message: string, clean: Clean): Promise<string> {
  const said = String(await cleaned(message, clean));
  const read = await unescapedInTurns(said);
  const own = String(await cleaned(read, clean));
  return own === read ? said : own;
}

/** Replaces what matches in a text. */
interface Clean {
  text(text: string): string;
  /** Whether it takes longer than a step may. */
  isLong(text: string): boolean;
  /** The same of one that is long. */
  long(text: string): Promise<string>;
}

/** What stands in place of what matched. What matches only by more than the character on each side of it tells no groups. */
function inPlace([said, around, at]: [string, string, number], pattern: RE2JS, replacement: string): string {
  if (!replacement.includes('$')) return replacement;
  const matcher = pattern.matcher(around);
  if (!matcher.find() || matcher.start() !== at || matcher.end() !== at + said.length)
    return REDACT_DEFAULTS.replacement;
  const told = matcher.replaceFirst(replacement);
  return told.slice(at, told.length - (around.length - at - said.length));
}

function compiled(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern);
  } catch (cause) {
    throw new OptionError('patterns', pattern, `a regular expression of RE2: ${(cause as Error).message}`);
  }
}

async function cleanedParams(params: Readonly<Record<string, unknown>>, clean: Clean): Promise<object> {
  const members = Object.entries(objectOf(params[META]));
  const kept = members.filter(([name]) => OF_PROTOCOL.test(name));
  const others = members.filter(([name]) => !OF_PROTOCOL.test(name));
  const given = kept.length === 0 ? params : { ...params, [META]: Object.fromEntries(others) };
  const own = (await cleaned(given, clean)) as Record<string, unknown>;
  if (own === given) return params;
  return kept.length === 0 ? own : { ...own, [META]: { ...(own[META] as object), ...Object.fromEntries(kept) } };
}

/** The value, or one like it where a string in it has changed. */
async function cleaned(value: unknown, clean: Clean): Promise<unknown> {
  const seen = new Set<unknown>();
  const changed = new Map<string, string>();
  const long: string[] = [];
  const left = [value];
  const told = (text: string, own: string): void => {
    if (own !== text) changed.set(text, own);
  };
  await inSlices(() => {
    const next = left.pop();
    // What holds itself is no JSON: that is told where it is written.
    if (seen.size === seen.add(next).size) return left.length === 0;
    if (typeof next !== 'string') {
      // What is neither is looked at no more.
      for (const each of next ? Object.values(next) : [])
        if (typeof each === 'string' || typeof each === 'object') left.push(each);
    } else if (clean.isLong(next)) long.push(next);
    else told(next, clean.text(next));
    return left.length === 0;
  }, 1);
  for (const each of long) told(each, await clean.long(each));
  if (changed.size === 0) return value;
  const own = await inTurnOrNow(() => replaced(value, changed));
  // What is made of it may take as long.
  return inTurnOrNow(() => own);
}

function replaced(value: unknown, by: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return by.get(value) ?? value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map((each) => replaced(each, by));
    return items.some((each, at) => each !== value[at]) ? items : value;
  }
  let changed = false;
  const members = Object.entries(value).map(([key, each]) => {
    const own = replaced(each, by);
    changed ||= own !== each;
    return [key, own] as const;
  });
  return changed ? Object.fromEntries(members) : value;
}

/** Bytes are gone through string by string, so that nothing else of them changes. */
async function cleanedResult(result: CallResult, clean: Clean): Promise<CallResult> {
  if (!(result.raw instanceof Uint8Array)) {
    const value = await cleaned(result.value, clean);
    return value === result.value ? result : CallResult.of(value);
  }
  const long = result.raw.length > LONG_CHARS;
  const text = long ? await decodedInTurns(result.raw) : result.text;
  const changed = await cleanedText(text, clean);
  if (changed === text) return result;
  return CallResult.of(long ? await encodedInTurns(changed) : Buffer.from(changed));
}

const COLON = /\s*:/y;

async function cleanedText(text: string, clean: Clean): Promise<string> {
  const parts: string[] = [];
  let at = 0;
  let kept = 0;
  let start = 0;
  let long: string | undefined;
  const told = (plain: string, own: string): void => {
    if (own === plain) return;
    parts.push(text.slice(kept, start), JSON.stringify(own));
    kept = at;
  };
  const step = (): boolean => {
    start = text.indexOf('"', at);
    if (start < 0) return true;
    at = skipString(text, start);
    COLON.lastIndex = at;
    // The name of a member.
    if (COLON.test(text)) return false;
    const literal = text.slice(start, at);
    const plain = literal.includes('\\') ? (JSON.parse(literal) as string) : literal.slice(1, -1);
    if (clean.isLong(plain)) long = plain;
    else told(plain, clean.text(plain));
    return long !== undefined;
  };
  do {
    long = undefined;
    await inSlices(step, 1);
    if (long !== undefined) told(long, await clean.long(long));
  } while (long !== undefined);
  return kept === 0 ? text : parts.join('') + text.slice(kept);
}
