import { once } from 'node:events';
import http, { type IncomingMessage, type RequestOptions } from 'node:http';
import https from 'node:https';
import { systemClock } from '../../../core/clock.js';
import { boundedClient } from './boundedClient.js';

export interface OneRequest extends Pick<RequestOptions, 'method' | 'headers' | 'lookup'> {
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
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
  const { request } = url.protocol === 'https:' ? https : http;
  const asked = request(url, { ...options, signal, agent: false });
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
