import { once } from 'node:events';
import http, { type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { isIP, type NetConnectOpts } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../../core/clock.js';
import { TurnBudget } from '../../../core/time/turns.js';
import { boundedClient } from './boundedClient.js';
import { pacedConnection } from './pacedTls.js';

export interface OneRequest extends Pick<RequestOptions, 'method' | 'headers' | 'lookup'> {
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
}

const turns = new TurnBudget();

/** In the place of an agent: `path` is that of a request, for `connect` that of a socket. */
function secured(options: object): Duplex {
  const own = { ...options, path: undefined } as unknown as NetConnectOpts & { readonly hostname: string };
  return pacedConnection({ ...own, ...(isIP(own.hostname) === 0 && { servername: own.hostname }) }, turns);
}

/**
 * One request by Node's client, on a socket of its own that ends with it, and what `take` makes of the response. Node's `fetch` does not
 * obey its signal while its parser passes over what comes in. Follows no redirect, knows no proxy, and rejects with the signal's reason.
 */
export async function askOnce<T>(
  url: URL,
  { body, signal, ...options }: OneRequest,
  take: (response: IncomingMessage) => Promise<T> | T,
): Promise<T> {
  const asked =
    url.protocol === 'https:'
      ? https.request(url, { ...options, signal, createConnection: secured })
      : http.request(url, { ...options, signal, agent: false });
  boundedClient(asked, systemClock);
  try {
    const [response] = (await once(asked.end(body), 'response')) as [IncomingMessage];
    return await take(response);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    // A socket that breaks afterwards is no one's any more.
    asked.on('error', () => undefined).destroy();
  }
}
