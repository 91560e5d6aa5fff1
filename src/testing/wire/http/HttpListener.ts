import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { systemClock, type Timer } from '../../../core/clock.js';
import { checkCount, checkText, withDefaults } from '../../../core/options.js';
import { authorityOf } from '../../../core/text/authorityOf.js';
import { isLoopbackHost } from '../../../core/text/isLoopbackHost.js';
import { resetSocket } from '../tcp/resetSocket.js';

export interface HttpListenerOptions {
  /** The port; 0 picks a free one. @defaultValue 0 */
  readonly port?: number;
  /**
   * The address. On one of loopback, a request whose `Host` names anything else is refused with 403: a page of a name that was made to lead
   * here (DNS rebinding) reaches nothing. @defaultValue '127.0.0.1'
   */
  readonly host?: string;
}

export const HTTP_LISTENER_DEFAULTS = Object.freeze({ port: 0, host: '127.0.0.1' });

/** An HTTP server that faults can cut, reset and take away for a time. */
export class HttpListener {
  readonly #http: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #host = '';
  #closed = false;
  #refusing: Timer | undefined;

  /** `serve` never throws: what it rejects with ends its response. */
  constructor(serve: (req: IncomingMessage, res: ServerResponse) => Promise<void>) {
    this.#http = createServer((req, res) => {
      res.on('error', () => undefined);
      const foreign = [authorityOf(req.url), req.headers.host].find((each) => this.#isForeign(each));
      if (foreign !== undefined) {
        const why = `Host ${foreign} is not of loopback, where this listens: --host takes another address\n`;
        res.writeHead(403, { 'content-type': 'text/plain' }).end(why);
        return;
      }
      serve(req, res).catch(() => res.destroy());
    });
    this.#http.keepAliveTimeout = 60_000;
    // What cannot listen again shows as a server that is gone.
    this.#http.on('error', () => undefined);
    this.#http.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** @throws OptionError; the system's error when it cannot listen */
  async listen(part: string, options: HttpListenerOptions): Promise<void> {
    const { port, host } = withDefaults(part, options, HTTP_LISTENER_DEFAULTS, {});
    checkCount('port', port, { max: 65_535 });
    this.#host = checkText('host', host);
    this.#http.listen(port, host);
    await once(this.#http, 'listening');
    this.#port = (this.#http.address() as AddressInfo).port;
  }

  get port(): number {
    return this.#port;
  }

  /** Its origin, as a client on this machine reaches it. */
  get origin(): string {
    const local = this.#host === '0.0.0.0' || this.#host === '::' ? '127.0.0.1' : this.#host;
    return `http://${local.includes(':') ? `[${local}]` : local}:${this.#port}`;
  }

  /** Every connection is reset. */
  resetAll(): void {
    for (const socket of this.#sockets) resetSocket(socket);
  }

  /** Every connection is closed. */
  cutAll(): void {
    this.#http.closeAllConnections();
  }

  /** No listener for so long, and every connection is reset. */
  refuse(ms: number): void {
    this.#http.close();
    this.resetAll();
    this.#refusing?.cancel();
    // Nothing else may hold the process meanwhile.
    const again = (): void => {
      if (!this.#closed && !this.#http.listening) this.#http.listen(this.#port, this.#host);
    };
    this.#refusing = systemClock.setTimer(again, ms, { ref: true });
  }

  #isForeign(header: string | undefined): boolean {
    return header !== undefined && isLocal(this.#host) && !isLocal(header.replace(/:\d{1,5}$/, ''));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#refusing?.cancel();
    this.#http.closeAllConnections();
    // The server says that it is closed before its sockets have: what waits for those would outlive it.
    const ends = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    if (this.#http.listening) await new Promise<void>((resolve) => this.#http.close(() => resolve()));
    await Promise.all(ends);
  }
}

const isLocal = (host: string): boolean => host === '::1' || isLoopbackHost(host.toLowerCase());
