import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { boundedClient } from '../../../connection/net/sockets/boundedClient.js';
import { CIPHERS } from '../../../connection/net/sockets/pacedTls.js';
import { systemClock } from '../../../core/clock.js';

/** Headers of one connection, not of the message: they do not go through a proxy. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

type Header = readonly [name: string, value: string];

/** The server behind a fault proxy: requests go to it as they came, under its own origin. */
export class Upstream {
  readonly #origin: URL;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #open = new Set<ClientRequest>();

  constructor(url: URL) {
    this.#origin = url;
    this.#agent =
      url.protocol === 'https:'
        ? new HttpsAgent({ keepAlive: true, ciphers: CIPHERS })
        : new HttpAgent({ keepAlive: true });
  }

  /** `plain`: the answer is read here, and must not be compressed. */
  send(
    req: IncomingMessage,
    body: Buffer | undefined,
    {
      plain,
      onResponse,
      onFail,
    }: { plain: boolean; onResponse: (got: IncomingMessage) => void; onFail: (error: Error) => void },
  ): ClientRequest {
    const send = this.#origin.protocol === 'https:' ? httpsRequest : httpRequest;
    const own = plain ? new Set(['host', 'content-length', 'accept-encoding']) : new Set(['host', 'content-length']);
    const headers = headersOf(req).filter(([name]) => !own.has(name.toLowerCase()));
    if (plain) headers.push(['accept-encoding', 'identity']);
    if (body !== undefined) headers.push(['content-length', String(body.length)]);
    headers.push(['host', this.#origin.host]);
    const { hostname, port } = this.#origin;
    const sent = send({
      agent: this.#agent,
      hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
      ...(port !== '' && { port }),
      method: req.method ?? 'GET',
      path: req.url ?? '/',
      headers: headers.flat(),
    });
    boundedClient(sent, systemClock);
    this.#open.add(sent);
    let got = false;
    sent.on('response', (response) => {
      got = true;
      response.on('error', () => undefined);
      onResponse(response);
    });
    sent.on('error', (error) => {
      if (!got) onFail(error);
    });
    sent.once('close', () => this.#open.delete(sent));
    sent.end(body);
    return sent;
  }

  /** Everything under way is cut. */
  cutAll(): void {
    for (const sent of [...this.#open]) sent.destroy();
  }

  close(): void {
    this.cutAll();
    this.#agent.destroy();
  }
}

/** Tells a client that its server did not answer: a server that hung up is seen to hang up. */
export function failed(error: Error, res: ServerResponse): void {
  const { code } = error as NodeJS.ErrnoException;
  if (res.destroyed) return;
  if (res.headersSent || code === 'ECONNRESET' || code === 'EPIPE') res.destroy();
  else res.writeHead(502, { 'content-type': 'text/plain' }).end('the server behind the fault proxy cannot be reached');
}

/** The headers of the message as they came. */
function headersOf({ rawHeaders }: IncomingMessage): Header[] {
  const headers: Header[] = [];
  for (let n = 0; n + 1 < rawHeaders.length; n += 2) {
    const [name = '', value = ''] = rawHeaders.slice(n, n + 2);
    if (!HOP_BY_HOP.has(name.toLowerCase())) headers.push([name, value]);
  }
  return headers;
}

/** What of a response's headers holds whatever its body becomes. */
export function sharedHeaders(got: IncomingMessage): Record<string, string> {
  const body = new Set(['content-type', 'content-length', 'content-encoding', 'date']);
  return Object.fromEntries(headersOf(got).filter(([name]) => !body.has(name.toLowerCase())));
}

/** Passes a response on byte for byte, while `open` says so; `done`: all of it came. */
export function passOn(
  got: IncomingMessage,
  res: ServerResponse,
  { open = () => true, done = () => undefined }: { open?: () => boolean; done?: () => void } = {},
): void {
  if (res.destroyed || res.headersSent) {
    got.resume();
    return;
  }
  try {
    res.writeHead(got.statusCode ?? 502, got.statusMessage, headersOf(got).flat());
  } catch {
    // A status below 100, or a reason of control characters: Node reads both, and writes none.
    got.destroy();
    res
      .writeHead(502, 'Bad Gateway', { 'content-type': 'text/plain' })
      .end('the server behind the fault proxy answered no HTTP');
    return;
  }
  res.flushHeaders();
  got.on('data', (chunk: Buffer) => {
    if (!open() || res.destroyed || res.write(chunk)) return;
    got.pause();
    res.once('drain', () => got.resume());
  });
  got.once('end', () => {
    done();
    if (open()) res.end();
  });
  got.once('close', () => {
    if (!got.complete && open()) res.destroy();
  });
}
