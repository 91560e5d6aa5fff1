import type { Dispatcher } from 'undici';
import type { Clock } from '../../core/clock.js';
import { sentSecrets, withoutSent } from '../../core/errors/sentSecrets.js';
import { UnauthorizedError } from '../../core/errors.js';
import { Renewal } from '../../core/time/Renewal.js';
import { TimeoutWheel } from '../../core/time/TimeoutWheel.js';
import { TurnBudget } from '../../core/time/turns.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import type { Flows } from './body/BodyFlow.js';
import { SseReader, type SseSink } from './body/events/SseReader.js';
import type { Incoming } from './body/IncomingBytes.js';
import { checkUrl, flat, type HttpTransportOptions, resolveHttpTransportOptions } from './httpOptions.js';
import { type Connecting, HttpDispatchers, type Lane } from './sockets/HttpDispatchers.js';
import { Lingering } from './sockets/Lingering.js';
import { proxyAuthorization, proxyFor } from './sockets/proxyFor.js';

/** What the credentials hook gives for a URL transport. */
export interface HttpCredentials {
  readonly headers?: Readonly<Record<string, string>>;
  /** Epoch ms. They are asked for anew ahead of it while the connection lives. */
  readonly expiresAt?: number;
}

/**
 * Asked for what a connection acts with: `start` before its first request, `renewal` ahead of the expiry of `stale`, `401` when the
 * server refused `stale` in a request of `caller` with that `challenge` (`WWW-Authenticate`), `again` when it is the second refusal of
 * that request. Giving the same object again, or nothing, lets the refusal stand.
 */
export type CredentialsSource = (
  reason: 'start' | 'renewal' | '401',
  stale?: HttpCredentials,
  caller?: object,
  again?: boolean,
  challenge?: string,
) => Promise<HttpCredentials | undefined>;

export interface EndpointOptions extends HttpTransportOptions {
  readonly server: string;
  readonly url: string;
  readonly clock: Clock;
  readonly dispatchers: HttpDispatchers;
  readonly maxMessageBytes: number;
  /** Added to every request; what the protocol itself sets is refused. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly credentials?: CredentialsSource;
}

/** A request as its endpoint sees it: what to send, and what hears the response. */
export interface Outgoing extends Dispatcher.DispatchHandler {
  /** Where the endpoint keeps it. */
  place: number;
  /** What it waits for, if that was begun for it. */
  connecting: Connecting | undefined;
  readonly lane: Lane;
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** Names and values in turn. */
  readonly requestHeaders: string[];
  readonly requestBody: string | null;
  onError(error: Error): void;
  /** The connection is closed: ends it, and tells what waits for it. */
  giveUp(): void;
}

/** What a request was sent with. */
export type Sent = Pick<Outgoing, 'path' | 'requestHeaders'>;

/**
 * A server chooses the path of a redirect, and of its stream's endpoint, and its session's id. Each part of them is sought in all that it says, which takes up to
 * 0.5 ns for each character and byte: where they are longer than this, in its first bytes alone, and the rest is dropped.
 */
const MAX_CHOSEN_CHARS = 512;
const HEARD_BYTES = 4_096;

/** Readers kept for the next streams. */
const MAX_READERS = 64;

/** One origin as one connection uses it: its path, its headers with credentials, and the exchanges under way. */
export class Endpoint {
  readonly server: string;
  readonly origin: string;
  readonly maxMessageBytes: number;
  readonly bounds: Required<HttpTransportOptions>;
  readonly clock: Clock;
  /** Of all connections of the pool, to this URL of its server. */
  readonly incoming: Incoming;
  /** Of all connections of the pool, to this URL of its server. */
  readonly maxReplySockets: number;
  /** Timeouts of headers and bodies. */
  readonly wheel: TimeoutWheel;
  readonly lingering: Lingering;
  /** What is read in one turn of the event loop. */
  readonly turns = new TurnBudget();
  /** Of responses whose readers have enough. */
  readonly flows: Flows = { wanted: undefined, paused: new Set() };
  path: string;
  /** Counts the changes of `headers`. */
  generation = 0;
  credentials: HttpCredentials | undefined;
  /** Of the newest call. What belongs to no call, such as the server's own stream, is sent for this caller. */
  caller: object | undefined;
  readonly #url: URL;
  readonly #dispatchers: HttpDispatchers;
  /** The proxy that an https URL is reached through. */
  readonly #tunnel: URL | undefined;
  /** The proxy that an http URL is asked of, and what it is told. */
  readonly #via: { readonly origin: string; readonly headers: readonly string[] } | undefined;
  /** Whose sockets replies go over. */
  readonly #replyOrigin: string;
  readonly #ownHeaders: readonly string[];
  readonly #source: CredentialsSource | undefined;
  /** Those under way, in no order. Not a Set: its outgrown tables keep dead exchanges until a full collection. */
  readonly #live: Outgoing[] = [];
  /** Readers between two streams: making one costs more than reading a short stream. */
  readonly #readers: SseReader[] = [];
  #headers: readonly string[];
  #closed = false;
  /** Those that the source has said there are none in the place of. */
  #last: HttpCredentials | undefined;
  /** By the caller whose request was refused. */
  readonly #renewals = new SingleFlight<object | undefined>();
  readonly #ahead: Renewal;

  /** @throws OptionError */
  constructor(options: EndpointOptions) {
    this.server = options.server;
    this.#url = checkUrl('url', options.url);
    this.origin = this.#url.origin;
    this.path = this.#url.pathname + this.#url.search;
    this.maxMessageBytes = options.maxMessageBytes;
    this.bounds = resolveHttpTransportOptions(options, options.maxMessageBytes);
    this.clock = options.clock;
    this.wheel = new TimeoutWheel(options.clock);
    this.#dispatchers = options.dispatchers;
    const owner = `${this.server} ${this.#url.href}`;
    this.incoming = options.dispatchers.incoming.of(owner);
    this.lingering = new Lingering(this.wheel, options.dispatchers.lingering, owner);
    this.maxReplySockets = options.dispatchers.maxReplySockets;
    const proxy = options.dispatchers.proxyFromEnv ? proxyFor(this.#url) : undefined;
    if (proxy !== undefined && this.#url.protocol === 'https:') this.#tunnel = proxy;
    else if (proxy !== undefined) {
      const authorization = proxyAuthorization(proxy);
      const own = authorization === undefined ? [] : ['proxy-authorization', authorization];
      this.#via = { origin: proxy.origin, headers: ['host', this.#url.host, ...own] };
    }
    this.#replyOrigin = HttpDispatchers.ownOrigin(this.#via?.origin ?? this.origin, owner);
    this.#source = options.credentials;
    this.#ahead = new Renewal(options.clock, () => this.#renewAhead());
    this.#ownHeaders = flat('headers', options.headers);
    this.#headers = this.#ownHeaders;
  }

  /** Names and values in turn, of the options and the credentials. */
  get headers(): readonly string[] {
    return this.#headers;
  }

  /** What becomes an error's text, without what that request was sent with: clients do not have it, and logs are not for it. */
  blanked(said: Buffer, { path, requestHeaders }: Sent): Buffer {
    if (said.length === 0) return said;
    const session = requestHeaders.filter((_, at) => requestHeaders[at - (at % 2)] === 'mcp-session-id');
    const chosen = (path === this.path ? '' : path) + session.join('');
    const heard = chosen.length > MAX_CHOSEN_CHARS ? said.subarray(0, HEARD_BYTES) : said;
    return withoutSent(heard, sentSecrets([this.path, path], [...this.#headers, ...session]));
  }

  /** Asks for the first credentials. */
  async start(): Promise<void> {
    this.#use(await this.#source?.('start'));
  }

  /**
   * True when a request of `caller` refused with `stale` may be sent again. Requests of one caller share one question.
   * `challenge`: what the refusal said. `again`: its first refusal was followed by credentials that were perhaps asked for with another caller's context.
   */
  async renew(
    stale: HttpCredentials | undefined,
    challenge: string | undefined,
    caller = this.caller,
    again = false,
  ): Promise<boolean> {
    const source = this.#source;
    if (source === undefined) return false;
    if (this.credentials !== stale) return true;
    const ask = (): Promise<HttpCredentials | undefined> => source('401', stale, caller, again, challenge);
    try {
      const fresh = await (again ? ask() : this.#renewals.run(caller, ask));
      if (this.credentials === stale && fresh !== undefined) this.#use(fresh);
    } catch (error) {
      if (this.credentials === stale) throw error;
    }
    // Another caller's answer serves this one too: they are of one principal.
    return this.credentials !== stale;
  }

  /** Undefined for what is no URL, or may have a host of very many characters that are not ASCII: its parser takes a time quadratic in them. */
  resolve(location: string): URL | undefined {
    if (location.length > 2_048 && /[^!-~]/.test(location)) return undefined;
    return URL.canParse(location, this.#url.href) ? new URL(location, this.#url) : undefined;
  }

  dispatch(exchange: Outgoing): void {
    if (this.#closed) {
      exchange.onError(new Error('the connection is closed'));
      return;
    }
    exchange.place = this.#live.push(exchange) - 1;
    const last = this.#last;
    if (last?.expiresAt !== undefined && last === this.credentials && last.expiresAt <= this.clock.wallNow()) {
      // As the server should answer it: the source is asked, and has the word.
      queueMicrotask(() => {
        exchange.onConnect?.(noop);
        exchange.onHeaders?.(401, [], noop, '');
        exchange.onComplete?.([]);
      });
      return;
    }
    const via = this.#via;
    this.#dispatchers.connecting = undefined;
    this.#dispatchers.of(exchange.lane, this.#tunnel).dispatch(
      {
        origin: exchange.lane === 'replies' ? this.#replyOrigin : via === undefined ? this.origin : via.origin,
        path: via === undefined ? exchange.path : this.origin + exchange.path,
        method: exchange.method,
        headers: via === undefined ? exchange.requestHeaders : [...exchange.requestHeaders, ...via.headers],
        body: exchange.requestBody,
      },
      exchange,
    );
    exchange.connecting = this.#dispatchers.connecting;
  }

  /** It is over. While its connection is still being made, undici would keep it, with its body, until that is there or fails: so it fails. */
  forget(exchange: Outgoing): void {
    const { place, connecting } = exchange;
    if (connecting?.over === false) connecting.destroy(new Error('no request waits for it any more'));
    if (this.#live[place] !== exchange) return;
    const last = this.#live.pop();
    if (last === undefined || last === exchange) return;
    this.#live[place] = last;
    last.place = place;
  }

  takeReader(sink: SseSink): SseReader {
    const reader = this.#readers.pop() ?? new SseReader(this.bounds.maxEventBytes, this.incoming);
    reader.begin(sink);
    return reader;
  }

  giveReader(reader: SseReader): void {
    if (reader.end() && this.#readers.length < MAX_READERS) this.#readers.push(reader);
  }

  /** As `HttpDispatchers.subscribe`. */
  subscribe(owner: string | undefined): () => void {
    return this.#dispatchers.subscribe(owner);
  }

  /** Ends every exchange. */
  abandon(): void {
    for (const exchange of [...this.#live]) exchange.giveUp();
  }

  /** Ends every exchange, and there will be no others. */
  close(): void {
    this.#closed = true;
    this.#ahead.close();
    this.abandon();
    this.wheel.close();
    this.turns.close();
  }

  #use(credentials: HttpCredentials | undefined): void {
    const theirs = flat('credentials.headers', credentials?.headers);
    this.credentials = credentials;
    const names = new Set(theirs.filter((_, i) => i % 2 === 0));
    this.#headers = [...this.#ownHeaders.filter((_, i) => !names.has(this.#ownHeaders[i & ~1] ?? '')), ...theirs];
    this.generation++;
    if (this.#source !== undefined && !this.#closed) this.#ahead.arm(credentials?.expiresAt);
  }

  /** True when there are newer ones. Calls in flight keep those that they were sent with. */
  async #renewAhead(): Promise<boolean> {
    const stale = this.credentials;
    const fresh = await this.#source?.('renewal', stale, this.caller).catch((error: unknown) => {
      if (error instanceof UnauthorizedError) this.#last = stale;
      throw error;
    });
    if (this.#closed || this.credentials !== stale) return true;
    if (fresh === undefined || fresh === stale) return false;
    this.#use(fresh);
    return true;
  }
}

const noop = (): void => undefined;
