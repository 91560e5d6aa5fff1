import { once } from 'node:events';
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { isDeep } from '../../connection/channel/codec/depth.js';
import { costsMore } from '../../connection/channel/codec/parsingCost.js';
import { boundedClient } from '../../connection/net/sockets/boundedClient.js';
import { CIPHERS } from '../../connection/net/sockets/pacedTls.js';
import { systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { readStream, TooLongError } from '../../core/files/readWhole.js';
import { withTimeoutSignal } from '../../core/time/within.js';
import type { StatusData } from '../../gateway/status/StatusData.js';
import { statusLines } from './render.js';

/** Where `serve` listens when nothing else is said. */
export const DEFAULT_URL = 'http://127.0.0.1:3399';
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 16 * 1_024 * 1_024;
/** Of an answer of a gateway with 1,000 servers, and their charts, half. */
const MAX_COST = 200_000_000;

export interface StatusSource {
  readonly url: string;
  /** Sent along, by name. */
  readonly header?: Readonly<Record<string, string>>;
}

/** Asks a running gateway how it stands, until `signal` aborts; `history`: with its charts, too. @throws Error with one clear line */
export function readStatus(source: StatusSource, signal?: AbortSignal, history = false): Promise<StatusData> {
  return withTimeoutSignal(TIMEOUT_MS, signal, (bounded) => read(source, bounded, history));
}

async function read(
  { url, header: given = {} }: StatusSource,
  signal: AbortSignal,
  history: boolean,
): Promise<StatusData> {
  const { target, authorization } = placeOf(url);
  const { request } = target.protocol === 'https:' ? https : http;
  const path = `${target.pathname}${history ? '' : '?history=none'}`;
  const asked = request(target, {
    path,
    headers: { ...authorization, ...given },
    agent: false,
    signal,
    ciphers: CIPHERS,
  });
  boundedClient(asked, systemClock);
  try {
    const response = await headOf(asked, target, signal);
    const { statusCode = 0 } = response;
    if (statusCode === 401)
      throw new Error(`${target} wants to know who asks: --header 'Authorization: Bearer \${TOKEN}'`);
    if (statusCode === 404) throw new Error(`${target} is not there: the gateway's status is off, or it is none`);
    if (statusCode !== 200) throw new Error(`${target} answered ${statusCode}`);
    return dataIn(await textOf(response, target, signal), target);
  } finally {
    // A socket that breaks afterwards is no one's any more.
    asked.on('error', () => undefined).destroy();
  }
}

async function headOf(asked: ClientRequest, target: URL, signal: AbortSignal): Promise<IncomingMessage> {
  try {
    const [response] = (await once(asked.end(), 'response')) as [IncomingMessage];
    return response;
  } catch (error) {
    const why = messageOf(signal.aborted ? signal.reason : error);
    throw new Error(`no gateway answers at ${target}: ${why} (--url says where it is)`, { cause: error });
  }
}

/** No more is read than any gateway sends. */
async function textOf(response: IncomingMessage, target: URL, signal: AbortSignal): Promise<string> {
  try {
    return await readStream(response, MAX_BYTES);
  } catch (error) {
    if (error instanceof TooLongError) throw new Error(`${target} answered too much`, { cause: error });
    const why = messageOf(signal.aborted ? signal.reason : error);
    throw new Error(`the gateway's answer broke off: ${why}`, { cause: error });
  }
}

function dataIn(text: string, target: URL): StatusData {
  try {
    // What is small as a text may fill the memory as values.
    if (isDeep(text) || costsMore(text, MAX_COST)) throw new Error('it says more than a gateway does');
    const data = JSON.parse(text) as StatusData;
    // What is shown of it is what a gateway sends, or nothing.
    statusLines(data);
    return data;
  } catch (error) {
    throw new Error(`${target} is no gateway of mcp-poolkit`, { cause: error });
  }
}

/** A name and a password go into a header: no error tells them. */
function placeOf(text: string): {
  readonly target: URL;
  readonly authorization?: { readonly authorization: string };
} {
  const target = new URL(text);
  const { username, password } = target;
  target.pathname = `${target.pathname.replace(/\/+$/, '').replace(/\/(status|mcp)$/, '')}/status/data.json`;
  Object.assign(target, { username: '', password: '', search: '', hash: '' });
  if (username === '' && password === '') return { target };
  const both = decoded(`${username}:${password}`);
  return { target, authorization: { authorization: `Basic ${Buffer.from(both).toString('base64')}` } };
}

/** A bare `%` stands for itself. */
const decoded = (text: string): string =>
  text.replace(/(%[0-9a-f]{2})+/gi, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString());
