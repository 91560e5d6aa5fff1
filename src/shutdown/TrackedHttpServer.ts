import { type EventEmitter, errorMonitor } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { Clock } from '../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import { isUnread } from '../core/close/endWithSocket.js';
import type { GracePeriod } from '../core/close/GracePeriod.js';
import { isSubscription } from '../core/close/isSubscription.js';
import { ShutdownTimeoutError } from '../core/errors.js';
import { checkPart, withDefaults } from '../core/options.js';
import { within } from '../core/time/within.js';
import { nameSome, requestName } from './names.js';

interface Connection {
  readonly socket: Socket;
  /** Under way, oldest first: one, where requests are not pipelined. */
  readonly responses: ServerResponse[];
  /** No longer HTTP. */
  upgraded: boolean;
  /** `socket.bytesRead` after its last response: more means that a request is arriving. */
  bytesRead: number;
}

const trackers = new WeakMap<Server, TrackedHttpServer>();

/** How long sockets that were destroyed may take to go. */
const GONE_MS = 1_000;
/** How often connections older than the tracker are looked at. */
const POLL_MS = 50;

/**
 * Knows the connections and responses of a node:http or node:https server, so that it can be closed without dropping a
 * request. Make it before the server listens: of older connections it knows only what Node tells.
 */
export function trackHttpServer(server: Server, options: { readonly clock?: Clock } = {}): TrackedHttpServer {
  const { clock } = withDefaults('trackHttpServer', options, {}, { clock: true });
  const known = trackers.get(checkServer(server));
  if (known !== undefined && !known.closed) return known;
  const tracker = new TrackedHttpServer(server, clock);
  trackers.set(server, tracker);
  return tracker;
}

/** The last two are none of `node:http2`, whose connections are sessions. */
const NEEDED = [
  'on',
  'prependListener',
  'close',
  'listenerCount',
  'closeIdleConnections',
  'closeAllConnections',
] as const;
const checkServer = (server: Server): Server =>
  checkPart('server', server, NEEDED, 'a server of node:http or node:https, not of node:http2');

/** See `trackHttpServer`. */
export class TrackedHttpServer implements Closeable {
  readonly #server: Server;
  readonly #scope: CloseScope;
  readonly #connections = new Map<Socket, Connection>();
  readonly #listeners: (readonly [string | symbol, (...args: never[]) => void])[] = [];
  readonly #upgradeEvents = new Set<string>();
  /** TCP connections of a TLS server whose handshake has not ended: they are no HTTP connections yet. */
  readonly #handshaking = new Set<Socket>();
  /** Each TLS connection could be told from its TCP connection. */
  #handshakesKnown = true;
  #ended: Promise<void> = Promise.resolve();
  #endingStreams = false;
  /** Connections may be open that it has not seen. */
  readonly #late: boolean;
  #announced = false;
  #refusing = false;
  /** `listen()` was called, and its outcome is still to come. */
  #starting = false;
  #overdue = false;
  #cut: readonly string[] = [];
  #unread: readonly string[] = [];

  constructor(server: Server, clock?: Clock) {
    this.#server = checkServer(server);
    this.#late = server.listening;
    this.#scope = new CloseScope('http server', {
      ...(clock && { clock }),
      onRefuse: () => {
        this.refuse();
        this.endStreams();
      },
      onDrain: () => this.#drain(),
      onDeadline: () => this.#destroyAll(),
      onRelease: (grace) => this.#release(grace),
    });
    this.#listen('connection', (socket: Socket) => {
      if (!(server instanceof TlsServer)) this.#track(socket);
      else this.#handshaking.add(socket.once('close', () => this.#handshaking.delete(socket)));
    });
    this.#listen('secureConnection', (socket: Socket) => {
      this.#track(socket);
      this.#handshakesKnown &&= this.#handshaking.delete(Reflect.get(socket, '_parent') as Socket);
    });
    this.#prepend('request', (_request: IncomingMessage, response: ServerResponse) => this.#onRequest(response));
    this.#watchStart();
    for (const event of ['upgrade', 'connect']) if (server.listenerCount(event) > 0) this.#watchUpgrades(event);
    this.#listen('newListener', (event: string) => {
      if (event === 'upgrade' || event === 'connect') this.#watchUpgrades(event);
    });
  }

  get closed(): boolean {
    return this.#scope.closed;
  }

  /** Open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Whether no request has come on that connection that is not answered; half a head is none. */
  isIdle(socket: Socket): boolean {
    const { responses, upgraded = true } = this.#connections.get(socket) ?? {};
    return responses?.length === 0 && !upgraded;
  }

  /** Requests whose responses their clients had not read when their connections were destroyed at the deadline; pages that waited behind such a one, too. */
  get unread(): readonly string[] {
    return this.#unread;
  }

  /** From now on every response says `Connection: close`, so that clients move on before they are refused. */
  announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    for (const { responses } of this.#connections.values()) for (const each of responses) sayClose(each);
  }

  /** No new connections from now on. Those that are open stay: requests on them are still handed to the listeners. */
  refuse(): void {
    this.announce();
    if (this.#refusing) return;
    this.#refusing = true;
    this.#stopListening();
  }

  /**
   * Ends what has no end of its own: upgraded connections, and event streams that a GET opened. An event stream that
   * answers a POST, or other requests, is work in flight.
   */
  endStreams(): void {
    for (const { socket, responses, upgraded } of this.#connections.values()) {
      if (upgraded) socket.destroySoon();
      for (const response of [...responses]) if (!response.writableEnded && isSubscription(response)) response.end();
    }
    if (this.#endingStreams) return;
    this.#endingStreams = true;
    this.#poll();
  }

  /**
   * Refuses, ends streams, closes idle connections at once and the others after their response; what is left after
   * `graceMs` is destroyed. Rejects with an `AggregateError` when that cut off a response; it names the request. One that was complete
   * is no failure: that its client does not read it keeps nothing from stopping (see `unread`).
   */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #drain(): Promise<void> {
    // A turn of the loop, so that requests that have arrived already are seen.
    await new Promise((resolve) => setImmediate(resolve));
    for (const connection of this.#connections.values()) closeIfIdle(connection);
    // No request can have come on those.
    if (this.#handshakesKnown) for (const socket of this.#handshaking) socket.destroy();
    if (this.#late) this.#server.closeIdleConnections();
    await this.#ended;
  }

  /** For what no event tells: a stream that a request in flight opens late, and connections older than we are. */
  #poll(): void {
    if (this.#overdue) return;
    const timer = this.#scope.clock.setTimer(() => {
      this.endStreams();
      // Node's idea of idle may cut off a response that a slow client is still reading: for want of a better.
      if (this.#late && this.#scope.closing) this.#server.closeIdleConnections();
      this.#poll();
    }, POLL_MS);
    void this.#ended.then(() => timer.cancel());
  }

  #destroyAll(): void {
    this.#overdue = true;
    const all = [...this.#connections.values()].map(({ responses }) => responses);
    // A request that never came whole was no work yet.
    const complete = all.flat().filter(({ req }) => req.complete);
    const unread = new Set(all.flatMap((responses) => responses.filter((each) => isUnread(each, responses[0]))));
    this.#cut = complete.filter((each) => !unread.has(each)).map(({ req }) => requestName(req));
    this.#unread = complete.filter((each) => unread.has(each)).map(({ req }) => requestName(req));
    for (const socket of [...this.#connections.keys(), ...this.#handshaking]) socket.destroy();
    this.#server.closeAllConnections();
  }

  async #release(grace: GracePeriod): Promise<void> {
    const ended = this.#ended.then(() => true);
    const gone = await within(ended, { clock: this.#scope.clock, timeoutMs: GONE_MS }).catch(() => false);
    for (const [event, listener] of this.#listeners) this.#server.off(event, listener as () => void);
    Reflect.deleteProperty(this.#server, 'listen');
    if (gone && this.#cut.length === 0) return;
    const cut = `${this.#cut.length} response(s) (${nameSome(this.#cut)})`;
    const left = gone ? cut : 'upgraded connections older than its tracker';
    throw new ShutdownTimeoutError(`http server: ${left}`, grace.totalMs);
  }

  /**
   * `server.close()` would also destroy idle connections, and with them responses that are ended but not yet read. It
   * asks the server itself to do so: not while this shadow stands.
   */
  #stopListening(): void {
    this.#ended = new Promise((resolve) => void this.#server.once('close', resolve));
    if (!this.#starting) this.#closeServer();
  }

  #closeServer(): void {
    this.#server.closeIdleConnections = () => undefined;
    this.#server.close();
    Reflect.deleteProperty(this.#server, 'closeIdleConnections');
  }

  /**
   * A `close()` between `listen()` and its outcome would swallow the outcome, and a caller that awaits it would wait for ever
   * (on older Nodes the server even listens afterwards). No event tells that `listen()` was called: so it is looked at.
   * One that is refused by then starts, says so, and is closed at once.
   */
  #watchStart(): void {
    const listen = Reflect.get(this.#server, 'listen') as (...args: unknown[]) => unknown;
    Reflect.set(this.#server, 'listen', (...args: unknown[]): unknown => {
      const result = Reflect.apply(listen, this.#server, args);
      this.#starting = !this.#server.listening;
      return result;
    });
    const started = (): void => {
      this.#starting = false;
      if (this.#refusing) this.#closeServer();
    };
    this.#listen('listening', started);
    this.#listen(errorMonitor, () => this.#starting && started());
  }

  #track(socket: Socket): Connection {
    const known = this.#connections.get(socket);
    if (known !== undefined) return known;
    const connection: Connection = { socket, responses: [], upgraded: false, bytesRead: socket.bytesRead };
    this.#connections.set(socket, connection);
    socket.once('close', () => this.#connections.delete(socket));
    return connection;
  }

  #onRequest(response: ServerResponse): void {
    const connection = this.#track(response.req.socket);
    connection.responses.push(response);
    if (this.#announced) sayClose(response);
    response.on('close', () => {
      const at = connection.responses.indexOf(response);
      if (at >= 0) connection.responses.splice(at, 1);
      connection.bytesRead = connection.socket.bytesRead;
      if (this.#scope.closing) closeIfIdle(connection);
    });
  }

  /** Only beside a listener of the server's owner: with none, Node handles such a request like any other. */
  #watchUpgrades(event: string): void {
    if (this.#upgradeEvents.has(event)) return;
    this.#upgradeEvents.add(event);
    this.#prepend(event, (_request: IncomingMessage, socket: Socket) => {
      this.#track(socket).upgraded = true;
      if (this.#refusing) socket.destroySoon();
    });
  }

  #listen(event: string | symbol, listener: (...args: never[]) => void): void {
    this.#listeners.push([event, listener]);
    const server: EventEmitter = this.#server;
    server.on(event, listener as () => void);
  }

  #prepend(event: string, listener: (...args: never[]) => void): void {
    this.#listeners.push([event, listener]);
    this.#server.prependListener(event, listener as () => void);
  }
}

function closeIfIdle({ socket, responses, upgraded, bytesRead }: Connection): void {
  if (responses.length === 0 && (upgraded || socket.bytesRead === bytesRead)) socket.destroySoon();
}

function sayClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('Connection', 'close');
}
