import { RE2JS } from 're2js';
import { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { OptionError, RpcError } from '../../core/errors.js';
import { checkBoolean, checkText, withDefaults } from '../../core/options.js';

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
  /** Whether results are, on their way back, and the errors that a server answers with: message and data. @defaultValue true */
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

/** What names things, or is compared by the protocol: never redacted, since a call would go elsewhere. */
const KEPT: ReadonlySet<string> = new Set(['_meta', 'jsonrpc', 'method']);

/**
 * Replaces what matches in every string of params, results and servers' errors, names of members excepted. All else stays as it came, to the digit; a
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
  const clean = (text: string): string =>
    patterns.reduce((left, pattern) => pattern.matcher(left).replaceAll(replacement), text);
  return async (call, next) => {
    if (!when(call)) return next();
    const own = params && call.params !== undefined ? cleaned(call.params, clean) : call.params;
    const send = (): Promise<CallResult> =>
      own === call.params || own === undefined ? next() : next({ params: own as object as Record<string, unknown> });
    if (!results || call.kind !== 'request') return send();
    try {
      return cleanedResult(await send(), clean);
    } catch (error) {
      throw error instanceof RpcError ? cleanedError(error, clean) : error;
    }
  };
}

/** What a server answered with; an error of ours quotes no one. */
function cleanedError(error: RpcError, clean: (text: string) => string): RpcError {
  const { server, rpcCode, message, data, dataText } = error;
  const own = cleaned(data, clean);
  const ownText = dataText === undefined ? undefined : cleanedText(dataText, clean);
  const same = own === data && ownText === dataText && clean(message) === message;
  return same ? error : new RpcError(server, rpcCode, clean(message), own, ownText);
}

function compiled(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern);
  } catch (cause) {
    throw new OptionError('patterns', pattern, `a regular expression of RE2: ${(cause as Error).message}`);
  }
}

/** The value, or one like it where a string in it has changed. */
function cleaned(value: unknown, clean: (text: string) => string): unknown {
  if (typeof value === 'string') return clean(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map((each) => cleaned(each, clean));
    return items.some((each, at) => each !== value[at]) ? items : value;
  }
  let changed = false;
  const members = Object.entries(value).map(([key, each]) => {
    const own = KEPT.has(key) ? each : cleaned(each, clean);
    changed ||= own !== each;
    return [key, own] as const;
  });
  return changed ? Object.fromEntries(members) : value;
}

const STRING = /"(?:[^"\\]|\\.)*"(\s*:)?/g;

/** Bytes are gone through string by string, so that nothing else of them changes. */
function cleanedResult(result: CallResult, clean: (text: string) => string): CallResult {
  if (!(result.raw instanceof Uint8Array)) {
    const value = cleaned(result.value, clean);
    return value === result.value ? result : CallResult.of(value);
  }
  const { text } = result;
  const changed = cleanedText(text, clean);
  return changed === text ? result : CallResult.of(Buffer.from(changed));
}

function cleanedText(text: string, clean: (text: string) => string): string {
  return text.replace(STRING, (literal: string, colon: string | undefined) => {
    // The name of a member.
    if (colon !== undefined) return literal;
    const plain = JSON.parse(literal) as string;
    const own = clean(plain);
    return own === plain ? literal : JSON.stringify(own);
  });
}
