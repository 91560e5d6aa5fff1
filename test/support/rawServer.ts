import type { IncomingMessage, ServerResponse } from 'node:http';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import type { FakeHttp } from '../../src/testing/fake/http/FakeHttp.js';
import type { FakeHttpExchange } from '../../src/testing/fake/http/FakeHttpOptions.js';
import { closeAfter } from './closeAfter.js';

/** One request as it came. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** The parsed body, when there was one. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read whatever was sent.
  readonly message: any;
}

export interface Exchange extends Seen {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly server: RawServer;
  /** Answers the request with JSON. */
  json(message: unknown, status?: number, headers?: Record<string, string>): void;
  /** The result a tool gives when it says `text`. */
  answer(text: string): void;
  /** Begins an event stream. */
  sse(): void;
  /** Writes one event; the data is made JSON unless it is text. */
  event(data: unknown, id?: string): void;
}

export type Handler = (exchange: Exchange) => void | Promise<void>;

export interface RawOptions {
  /** `modern` answers `server/discover`; else it gets 400. @defaultValue 'legacy' */
  readonly era?: 'legacy' | 'modern';
  /** Gives session ids, and refuses unknown ones with this status. @defaultValue none */
  readonly lost?: 404 | 400;
  /** Tools by name; others echo their `text`. */
  readonly tools?: Readonly<Record<string, Handler>>;
  /** By HTTP method or JSON-RPC method, before everything else. True: it was handled. */
  readonly before?: (exchange: Exchange) => boolean | undefined;
  /** The GET stream; without it 405. */
  readonly get?: Handler;
}

export const said = (text: string): object => ({ content: [{ type: 'text', text }] });

const MAKES_SESSIONS: ReadonlySet<string> = new Set(['initialize', 'server/discover']);

/**
 * A fake server whose answers a test may give itself, for behaving badly on purpose. What a fault plan can do is done by
 * a plan.
 */
export class RawServer {
  readonly seen: Seen[] = [];
  initialises = 0;
  readonly #options: RawOptions;
  #http!: FakeHttp;

  private constructor(options: RawOptions) {
    this.#options = options;
  }

  static async listen(options: RawOptions = {}, port = 0): Promise<RawServer> {
    const { era = 'legacy', lost } = options;
    const fake = closeAfter(
      fakeServer({ name: 'raw', capabilities: {}, era: era === 'modern' ? 'both' : era, sessions: lost !== undefined }),
    );
    const server = new RawServer(options);
    server.#http = await fake.listen({ port, intercept: (exchange) => server.#intercept(exchange) });
    return server;
  }

  get port(): number {
    return this.#http.port;
  }

  get url(): string {
    return this.#http.url;
  }

  get sessions(): ReadonlySet<string> {
    return this.#http.sessions;
  }

  /** The id of the nth session that a request came in, from 1. */
  session(nth: number): unknown {
    const ids = this.seen.map(({ headers }) => headers['mcp-session-id']).filter((id) => id !== undefined);
    return [...new Set(ids)][nth - 1];
  }

  /** Every session is lost. */
  forget(): void {
    this.#http.forget();
  }

  /** Requests with this JSON-RPC or HTTP method. */
  of(method: string): Seen[] {
    return this.seen.filter((each) => each.message?.method === method || each.method === method);
  }

  cutAll(): void {
    this.#http.die({ why: 'the test says so' });
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #intercept({ req, res, message }: FakeHttpExchange): Promise<boolean> {
    const { method = '', headers, url: path = '' } = req;
    const seen: Seen = { method, path, headers, message };
    this.seen.push(seen);
    const json: Exchange['json'] = (reply, status = 200, extra = {}) => {
      res.writeHead(status, { 'content-type': 'application/json', ...extra }).end(JSON.stringify(reply));
    };
    const exchange: Exchange = {
      ...seen,
      req,
      res,
      server: this,
      json,
      answer: (text) => json({ jsonrpc: '2.0', id: message?.id, result: said(text) }),
      sse: () => {
        res.writeHead(200, { 'content-type': 'text/event-stream' });
        res.flushHeaders();
      },
      event: (data, id) => {
        const text = typeof data === 'string' ? data : JSON.stringify(data);
        res.write(`${id === undefined ? '' : `id: ${id}\n`}data: ${text}\n\n`);
      },
    };
    if (this.#options.before?.(exchange) === true || this.#refused(exchange)) return true;
    const handler = method === 'GET' ? this.#options.get : this.#options.tools?.[exchange.message?.params?.name];
    await handler?.(exchange);
    if (handler === undefined && message?.method === 'initialize') this.initialises++;
    return handler !== undefined;
  }

  /** What fake servers take and this one does not. */
  #refused({ method, headers, message, json }: Exchange): boolean {
    const { lost, era } = this.#options;
    const refuse = (code: number, text: string, status: number): boolean => {
      json({ jsonrpc: '2.0', id: message?.id ?? null, error: { code, message: text } }, status);
      return true;
    };
    const session = headers['mcp-session-id'] as string | undefined;
    if (lost !== undefined && !MAKES_SESSIONS.has(message?.method) && !this.sessions.has(session ?? '')) {
      return refuse(-32000, 'no such session', lost);
    }
    const discovers = method === 'POST' && message?.method === 'server/discover' && era !== 'modern';
    return discovers && refuse(-32601, 'no such method', 400);
  }
}
