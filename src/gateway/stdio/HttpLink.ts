import { Agent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest, Agent as SecureAgent } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { IncomingBytes } from '../../connection/net/body/IncomingBytes.js';
import { boundedClient } from '../../connection/net/sockets/boundedClient.js';
import { CIPHERS } from '../../connection/net/sockets/pacedTls.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { readBriefly } from './readResponse.js';

export interface HttpLinkOptions {
  /** The endpoint: `http://127.0.0.1:3399/mcp`. */
  readonly url: URL;
  /** Sent with every request. */
  readonly headers?: OutgoingHttpHeaders;
  /** Makes a connection within this process, in place of a socket. */
  readonly connect?: () => Duplex;
  /** Makes the connections of an `http:` URL, and is destroyed with this. @defaultValue one of its own */
  readonly agent?: Agent;
  /** Bytes of answers that have not ended, over all of its responses. @defaultValue 536870912 */
  readonly maxIncomingBytes?: number;
}

/** How long a request may take that no client asked for, and so none can give up, in ms. */
export const OWN_MS = 30_000;
/** How long a gateway may take to say that it has what needs no answer: longer the longer that is, in ms. */
export const takenMs = (text: string): number => OWN_MS + text.length / 10;
const MAX_INCOMING_BYTES = 512 * 1_024 * 1_024;

export interface LinkRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** Another path of the same origin. */
  readonly path?: string;
}

/** Why there was no response. */
export class LinkError extends Error {
  /** Nothing of the request can have been read: there was no connection. */
  readonly neverSent: boolean;
  /** By the signal of its request, whose reason is the cause. */
  readonly givenUp: boolean;
  /** By `cut`: the gateway was there, and waited for long enough. */
  readonly cut: boolean;

  constructor(cause: Error, neverSent: boolean, { givenUp = false, cut = false } = {}) {
    super(cause.message === '' ? String((cause as NodeJS.ErrnoException).code) : cause.message, { cause });
    this.neverSent = neverSent;
    this.givenUp = givenUp;
    this.cut = cut;
  }
}

/** Requests to one endpoint over connections that are kept. Node's own client: it is there, and needs no memory of its own. */
export class HttpLink implements Disposable {
  /** Of answers that have not ended. */
  readonly incoming: IncomingBytes;
  readonly #options: HttpLinkOptions;
  readonly #secure: boolean;
  readonly #agent: Agent | undefined;
  /** Connections on which a response comes, from its whole head on. */
  readonly #answering = new Map<Socket, IncomingMessage>();
  /** Responses of which nothing is wanted any more. */
  readonly #draining = new Map<IncomingMessage, Promise<void>>();
  #heads = 0;
  #cutBy: Error | undefined;

  constructor(options: HttpLinkOptions) {
    this.#options = options;
    this.incoming = new IncomingBytes(options.maxIncomingBytes ?? MAX_INCOMING_BYTES);
    this.#secure = options.url.protocol === 'https:';
    const kept = { keepAlive: true, keepAliveMsecs: 30_000 };
    if (options.connect === undefined) {
      this.#agent = this.#secure ? new SecureAgent({ ...kept, ciphers: CIPHERS }) : (options.agent ?? new Agent(kept));
    }
  }

  /** Resolves with the head of the response. Rejects with a `LinkError`, or with the signal's reason when nothing was sent. */
  async request({ method, headers, body, signal, path }: LinkRequest): Promise<IncomingMessage> {
    // What became of the connections that are kept is known by then: a gateway that has died is not mistaken for one that dies now.
    await new Promise<void>((settle) => void setImmediate(settle));
    signal?.throwIfAborted();
    const { url, connect } = this.#options;
    const target = path === undefined ? url : new URL(path, url);
    const send = this.#secure ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      let connected = false;
      const outgoing = send(target, {
        method,
        headers: {
          ...this.#options.headers,
          ...headers,
          ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }),
        },
        ...(this.#agent && { agent: this.#agent }),
        ...(signal && { signal }),
        ...(connect && { createConnection: connect }),
      });
      boundedClient(outgoing, systemClock);
      outgoing.on('socket', (socket) => {
        if (socket.connecting) socket.once(this.#secure ? 'secureConnect' : 'connect', () => (connected = true));
        else connected = true;
      });
      outgoing.once('response', (response) => {
        const { socket } = response;
        this.#heads++;
        this.#answering.set(socket, response);
        response.once('close', () => this.#answering.delete(socket));
        resolve(response);
      });
      outgoing.on('error', (error) => {
        // Given up on its way, what may have been read is not taken back.
        if (signal?.aborted === true)
          reject(connected ? new LinkError(signal.reason as Error, false, { givenUp: true }) : signal.reason);
        else reject(new LinkError(error, !connected, { cut: error === this.#cutBy }));
      });
      // Node says nothing else of a connection that ends so: another protocol, which no side asked for.
      outgoing.once('close', () =>
        reject(new LinkError(new Error('the connection ended without an answer'), !connected)),
      );
      outgoing.end(body);
    });
  }

  /**
   * Another number than before, and something has come of an answer: a head, or bytes of a body. Interim responses (`100 Continue`) and
   * a head that does not end count for nothing: they may come for ever.
   */
  get heard(): number {
    return [...this.#answering.keys()].reduce((sum, { bytesRead }) => sum + bytesRead, this.#heads);
  }

  /** Ends those connections: what waits for an answer there fails. */
  cut(error: Error): void {
    this.#cutBy = error;
    for (const socket of this.#busy()) {
      // Else its reader would hear of a response that was aborted, and not why.
      this.#answering.get(socket)?.destroy(error);
      socket.destroy(error);
    }
  }

  /** Lets a body pass in which nothing is looked for, within bounds. Resolves when that is done; never rejects. */
  async drain(response: IncomingMessage, clock: Clock): Promise<void> {
    const over = readBriefly(response, clock);
    this.#draining.set(response, over);
    await over;
    this.#draining.delete(response);
  }

  #busy(): Socket[] {
    return Object.values(this.#agent?.sockets ?? {}).flatMap((sockets) => sockets ?? []);
  }

  /** Ends its connections. */
  async close(): Promise<void> {
    this[Symbol.dispose]();
    for (const response of this.#draining.keys()) response.destroy();
    await Promise.all(this.#draining.values());
  }

  [Symbol.dispose](): void {
    this.#agent?.destroy();
  }
}
