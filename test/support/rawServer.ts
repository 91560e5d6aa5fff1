import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpListener } from '../../src/testing/wire/http/HttpListener.js';
import { readBody } from '../../src/testing/wire/http/readBody.js';
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

/** A server whose every answer a test gives itself, for behaving badly on purpose. What a fault plan can do is `fakeServer`'s. */
export class RawServer {
  readonly seen: Seen[] = [];
  readonly sessions = new Set<string>();
  initialises = 0;
  readonly #options: RawOptions;
  readonly #http = new HttpListener((req, res) => this.#serve(req, res));
  #nextSession = 1;

  constructor(options: RawOptions) {
    this.#options = options;
  }

  static async listen(options: RawOptions = {}, port = 0): Promise<RawServer> {
    const server = closeAfter(new RawServer(options));
    await server.#http.listen('listen', { port });
    return server;
  }

  get port(): number {
    return this.#http.port;
  }

  get url(): string {
    return `${this.#http.origin}/mcp`;
  }

  /** Requests with this JSON-RPC or HTTP method. */
  of(method: string): Seen[] {
    return this.seen.filter((each) => each.message?.method === method || each.method === method);
  }

  cutAll(): void {
    this.#http.cutAll();
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = (await readBody(req)).toString();
    const message = body === '' ? undefined : JSON.parse(body);
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
      answer: (text) => json({ jsonrpc: '2.0', id: message.id, result: said(text) }),
      sse: () => {
        res.writeHead(200, { 'content-type': 'text/event-stream' });
        res.flushHeaders();
      },
      event: (data, id) => {
        const text = typeof data === 'string' ? data : JSON.stringify(data);
        res.write(`${id === undefined ? '' : `id: ${id}\n`}data: ${text}\n\n`);
      },
    };
    if (this.#options.before?.(exchange) === true) return;
    await this.#route(exchange);
  }

  #route(exchange: Exchange): void | Promise<void> {
    const { res, message, headers, method, json } = exchange;
    const { lost, era, tools = {}, get } = this.#options;
    const session = headers['mcp-session-id'] as string | undefined;
    if (lost !== undefined && message?.method !== 'initialize' && message?.method !== 'server/discover') {
      if (session === undefined || !this.sessions.has(session)) {
        json({ jsonrpc: '2.0', id: message?.id ?? null, error: { code: -32000, message: 'no such session' } }, lost);
        return undefined;
      }
    }
    if (method === 'GET') return get === undefined ? void res.writeHead(405).end() : get(exchange);
    if (method === 'DELETE') {
      this.sessions.delete(session ?? '');
      res.writeHead(200).end();
    } else if (message.method === 'initialize') this.#initialise(exchange);
    else if (message.id === undefined || message.method === undefined) res.writeHead(202).end();
    else if (message.method === 'server/discover' && era === 'modern') {
      const result = { supportedVersions: ['2026-07-28'], capabilities: {}, serverInfo: { name: 'raw', version: '1' } };
      json({ jsonrpc: '2.0', id: message.id, result });
    } else if (message.method === 'ping') json({ jsonrpc: '2.0', id: message.id, result: {} });
    else if (message.method === 'tools/call') {
      const { name, arguments: args = {} } = message.params;
      const tool = tools[name];
      if (tool !== undefined) return tool(exchange);
      exchange.answer(String(args.text));
    } else {
      const error = { code: -32601, message: 'no such method' };
      json({ jsonrpc: '2.0', id: message.id, error }, era === 'modern' ? 404 : 400);
    }
    return undefined;
  }

  #initialise({ message, json }: Exchange): void {
    this.initialises++;
    const { protocolVersion } = message.params;
    const result = { protocolVersion, capabilities: {}, serverInfo: { name: 'raw', version: '1' } };
    if (this.#options.lost === undefined) {
      json({ jsonrpc: '2.0', id: message.id, result });
      return;
    }
    const id = `session-${this.#nextSession++}`;
    this.sessions.add(id);
    json({ jsonrpc: '2.0', id: message.id, result }, 200, { 'mcp-session-id': id });
  }
}
