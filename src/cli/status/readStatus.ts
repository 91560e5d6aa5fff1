import { assertFetch } from '../../connection/net/assertFetch.js';
import { messageOf } from '../../core/errors.js';
import { withTimeoutSignal } from '../../core/time/within.js';
import type { StatusData } from '../../gateway/status/StatusData.js';
import { statusLines } from './render.js';

/** Where `serve` listens when nothing else is said. */
export const DEFAULT_URL = 'http://127.0.0.1:3399';
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 16 * 1_024 * 1_024;

export interface StatusSource {
  readonly url: string;
  /** Sent along, by name. */
  readonly header?: Readonly<Record<string, string>>;
}

/** Asks a running gateway how it stands, until `signal` aborts. @throws Error with one clear line */
export function readStatus(source: StatusSource, signal?: AbortSignal): Promise<StatusData> {
  return withTimeoutSignal(TIMEOUT_MS, signal, (bounded) => read(source, bounded));
}

async function read({ url, header: given = {} }: StatusSource, signal: AbortSignal): Promise<StatusData> {
  const { target, authorization } = placeOf(url);
  const headers = { ...authorization, ...given };
  assertFetch();
  let response: Response;
  try {
    response = await fetch(target, { headers, redirect: 'error', signal });
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`no gateway answers at ${target}: ${messageOf(cause)} (--url says where it is)`, { cause: error });
  }
  if (response.status === 401)
    throw new Error(`${target} wants to know who asks: --header 'Authorization: Bearer \${TOKEN}'`);
  if (response.status === 404) throw new Error(`${target} is not there: the gateway's status is off, or it is none`);
  if (!response.ok) throw new Error(`${target} answered ${response.status}`);
  const text = await textOf(response);
  if (text === undefined) throw new Error(`${target} answered too much`);
  try {
    const data = JSON.parse(text) as StatusData;
    // What is shown of it is what a gateway sends, or nothing.
    statusLines(data);
    return data;
  } catch {
    throw new Error(`${target} is no gateway of mcp-poolkit`);
  }
}

/** What `fetch` does not take in a URL, a name and a password, goes into a header. */
function placeOf(text: string): {
  readonly target: string;
  readonly authorization?: { readonly authorization: string };
} {
  const url = new URL(text);
  const { username, password } = url;
  url.pathname = `${url.pathname.replace(/\/+$/, '').replace(/\/(status|mcp)$/, '')}/status/data.json`;
  Object.assign(url, { username: '', password: '', search: '', hash: '' });
  if (username === '' && password === '') return { target: url.href };
  const both = decoded(`${username}:${password}`);
  return { target: url.href, authorization: { authorization: `Basic ${Buffer.from(both).toString('base64')}` } };
}

/** A bare `%` stands for itself. */
const decoded = (text: string): string =>
  text.replace(/(%[0-9a-f]{2})+/gi, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString());

/** Undefined when it is more than any gateway sends: no more of it is read then. */
async function textOf({ body }: Response): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body ?? []) {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) return undefined;
      chunks.push(chunk);
    }
  } catch (error) {
    throw new Error(`the gateway's answer broke off: ${messageOf(error)}`, { cause: error });
  }
  return Buffer.concat(chunks).toString();
}
