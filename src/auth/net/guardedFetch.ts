import type { IncomingMessage } from 'node:http';
import { isIP, type LookupFunction } from 'node:net';
import type { FetchLike } from '@modelcontextprotocol/client';
import { askOnce } from '../../connection/net/sockets/askOnce.js';
import { messageOf } from '../../core/errors.js';
import { lookUp } from '../../core/net/lookup.js';
import { isLoopbackHost } from '../../core/text/isLoopbackHost.js';
import { withTimeoutSignal } from '../../core/time/within.js';
import { mayReach, type Reach } from './addresses.js';

/** A request that is not made, or a response that is not taken. A `TypeError`, as what `fetch` rejects with: the SDK hands those on. */
export class GuardError extends TypeError {}

export interface GuardedFetchOptions {
  readonly reach: Reach;
  /** Longest request, in ms. */
  readonly timeoutMs: number;
  /** Longest body of a response. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Names to addresses. @defaultValue the system's */
  readonly lookup?: LookupFunction;
}

/**
 * Most commas outside of strings, and most bytes of characters that are not ASCII or are escaped, in a body that says what was asked for: metadata and tokens have
 * some hundred of the former. Each value may be an error of its own to those who check what they read, and a URL parser takes a time that is
 * quadratic in the characters of a host.
 */
const MAX_COMMAS = 4_000;
const MAX_ESCAPED = 4_000;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];

const NO_BODY: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/**
 * `fetch` for URLs that a server names, which may be meant for machines that it cannot reach itself: https, or plain http to where `reach`
 * allows it; to addresses that `reach` allows, each checked where the socket is opened, so that no second look-up can bring another; no
 * redirects, no proxies, no cookies; bounded in time, size and number of values. Every request has its socket for itself, and ends it.
 */
export function guardedFetch(options: GuardedFetchOptions): FetchLike {
  const { reach, timeoutMs, maxBytes, signal } = options;
  const send = async (url: URL, init: RequestInit, signals: readonly AbortSignal[]): Promise<Response> => {
    const take = async (response: IncomingMessage): Promise<Response> => {
      const { statusCode: status = 0 } = response;
      if (status >= 300 && status < 400) {
        throw new GuardError(`${url.origin} answers with a redirect (${status}), which is not followed`);
      }
      const body = await bodyOf(response, maxBytes, url);
      const headers = Object.entries(response.headers).flatMap(([name, value]) =>
        [value ?? []].flat().map((each): [string, string] => [name, each]),
      );
      return new Response(NO_BODY.has(status) ? null : body, { status, headers });
    };
    const asked = {
      method: init.method ?? 'GET',
      headers: Object.fromEntries(new Headers(init.headers)),
      lookup: guardedLookup(reach, options.lookup ?? lookUp),
      body: init.body === undefined || init.body === null ? undefined : String(init.body),
      signal: AbortSignal.any([...signals]),
    };
    try {
      return await askOnce(url, asked, take);
    } catch (error) {
      if (error instanceof TypeError || signal?.aborted === true) throw error;
      throw new GuardError(`${url.origin} cannot be asked: ${messageOf(error)}`, { cause: error });
    }
  };
  return async (input, init = {}) => {
    const url = new URL(input);
    checkTarget(url, reach);
    const own = init.signal instanceof AbortSignal ? [init.signal] : [];
    return withTimeoutSignal(timeoutMs, signal, (bounded) => send(url, init, [bounded, ...own]));
  };
}

/** What can be told before a name is looked up. @throws GuardError */
export function checkTarget({ protocol, hostname, username, password, origin }: URL, reach: Reach): void {
  if (username !== '' || password !== '') throw new GuardError(`a URL of ${hostname} with a user or password`);
  const plain = protocol === 'http:' && (reach === 'any' || (reach === 'loopback' && isLoopbackHost(hostname)));
  if (protocol !== 'https:' && !plain) throw new GuardError(`${origin === 'null' ? protocol : origin} is not https`);
  const address = hostname.replace(/^\[|\]$/g, '');
  // A name is looked up when the socket is opened; an address is not.
  if (isIP(address) !== 0 && !mayReach(address, reach)) throw new GuardError(forbidden(hostname, address));
}

const forbidden = (hostname: string, address: string): string =>
  `${hostname} is at a private or reserved address (${address}), where no sign-in goes unless auth.allowPrivateNetwork says so`;

/** Gives a socket only addresses that may be reached; one that may not among them is enough to refuse all. */
function guardedLookup(reach: Reach, lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, '');
      const all = (Array.isArray(found) ? found : []) as { readonly address: string; readonly family: number }[];
      const wrong = all.find(({ address }) => !mayReach(address, reach));
      if (wrong !== undefined) return callback(new GuardError(forbidden(hostname, wrong.address)), '');
      const [first] = all;
      if (first === undefined) return callback(new GuardError(`${hostname} has no address`), '');
      return options.all === true ? callback(null, [...all]) : callback(null, first.address, first.family);
    });
  };
}

const tooLong = ({ origin }: URL, maxBytes: number): GuardError =>
  new GuardError(`${origin} answers with more than ${maxBytes} bytes`);

async function bodyOf(body: IncomingMessage, maxBytes: number, url: URL): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw tooLong(url, maxBytes);
    chunks.push(chunk);
  }
  const whole = Buffer.concat(chunks);
  const { statusCode: status = 0 } = body;
  if (status >= 200 && status < 300) {
    const text = whole.toString('latin1');
    // A page: nothing of it is read.
    if (/^(?:\xef\xbb\xbf)?\s*</.test(text)) return new Uint8Array(whole);
    if (hasMoreCommas(whole, MAX_COMMAS)) {
      throw new GuardError(`${url.origin} answers with more than ${MAX_COMMAS} values`);
    }
    if (occursMore(text, /[\x80-\xff%]|\\u/g, MAX_ESCAPED)) {
      throw new GuardError(
        `${url.origin} answers with more than ${MAX_ESCAPED} bytes that are not ASCII, or are escaped`,
      );
    }
  }
  return new Uint8Array(whole);
}

/** Outside of the strings of a JSON: what is none is refused where it is read. */
function hasMoreCommas(json: Uint8Array, max: number): boolean {
  let count = 0;
  let inString = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) inString = !inString;
    else if (inString && byte === BACKSLASH) at++;
    else if (!inString && byte === COMMA && ++count > max) return true;
  }
  return false;
}

function occursMore(text: string, sought: RegExp, max: number): boolean {
  let count = 0;
  for (const _ of text.matchAll(sought)) if (++count > max) return true;
  return false;
}
