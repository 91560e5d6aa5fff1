import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { systemClock } from '../../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import type { Injection } from '../../faults/FaultPlan.js';
import type { FaultWire } from '../../faults/table/spec.js';
import { HttpListener } from '../../wire/http/HttpListener.js';
import { HttpPort } from '../../wire/http/HttpPort.js';
import { HANDSHAKES, SLOW_START_MS } from '../../wire/http/handshakes.js';
import { readBody } from '../../wire/http/readBody.js';
import { isRequest, parseMessage, type RpcMessage, type RpcRequest } from '../../wire/messages.js';
import type { WireEnd } from '../../wire/WireCall.js';
import type { FakeCore } from '../FakeCore.js';
import type { FakeHttpOptions } from './FakeHttpOptions.js';
import { FakeHttpSession } from './FakeHttpSession.js';

/** A fake server's HTTP side: `/mcp` (Streamable HTTP), `/sse` and `/message` (HTTP+SSE). */
export class FakeHttp implements Closeable {
  readonly #core: FakeCore;
  readonly #nextStart: (wire: FaultWire) => Injection | undefined;
  readonly #intercept: FakeHttpOptions['intercept'];
  readonly #http: HttpListener;
  readonly #scope: CloseScope;
  readonly #sessions = new Map<string, FakeHttpSession>();
  /** Credentials that have expired. */
  readonly #expired = new Set<string>();
  readonly #kept = new Map<string, string>();

  static async listen(
    core: FakeCore,
    nextStart: (wire: FaultWire) => Injection | undefined,
    { intercept, ...options }: FakeHttpOptions,
  ): Promise<FakeHttp> {
    const http = new FakeHttp(core, nextStart, intercept);
    await http.#http.listen('listen', options);
    return http;
  }

  private constructor(
    core: FakeCore,
    nextStart: (wire: FaultWire) => Injection | undefined,
    intercept: FakeHttpOptions['intercept'],
  ) {
    this.#core = core;
    this.#nextStart = nextStart;
    this.#intercept = intercept;
    this.#http = new HttpListener((req, res) => this.#serve(req, res));
    this.#scope = new CloseScope(`fake server ${core.settings.name} over HTTP`, {
      onRelease: async () => {
        for (const session of this.#sessions.values()) session.close();
        await this.#http.close();
      },
    });
  }

  get port(): number {
    return this.#http.port;
  }

  /** Of Streamable HTTP. */
  get url(): string {
    return `${this.#http.origin}/mcp`;
  }

  /** Of the older HTTP+SSE. */
  get sseUrl(): string {
    return `${this.#http.origin}/sse`;
  }

  /** The ids of its sessions. */
  get sessions(): ReadonlySet<string> {
    return new Set(this.#sessions.keys());
  }

  /** Forgets a session, or all of them, as a server does that starts anew: their clients get 404 from then on. */
  forget(id?: string): void {
    for (const each of id === undefined ? [...this.#sessions.keys()] : [id]) {
      this.#sessions.get(each)?.close();
      this.#sessions.delete(each);
    }
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  /** The server dies and is there again at once: every connection is cut, every session forgotten. */
  readonly die = ({ signal }: WireEnd): void => {
    this.forget();
    if (signal !== undefined) this.#http.resetAll();
    else this.#http.cutAll();
  };

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://localhost');
    const message = req.method === 'POST' ? parseMessage((await readBody(req)).toString('utf8')) : undefined;
    if ((await this.#intercept?.({ req, res, message })) === true) return;
    if (req.method === 'POST' && message === undefined) {
      const error = { code: RPC_CODES.parseError, message: 'parse error' };
      res
        .writeHead(400, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id: null, error }));
      return;
    }
    if (this.#expired.has(req.headers.authorization ?? '')) {
      res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
      return;
    }
    if (pathname === '/sse' && req.method === 'GET') await this.#openSse(res);
    else if (pathname === '/message' && message !== undefined) {
      const session = this.#sessions.get(searchParams.get('sessionId') ?? '');
      if (session === undefined) res.writeHead(404).end('no such session');
      else session.posted(req, res, message);
    } else if (pathname === '/mcp') await this.#mcp(req, res, message);
    else res.writeHead(404).end();
  }

  async #openSse(res: ServerResponse): Promise<void> {
    const start = this.#nextStart('sse');
    if (await this.#refusedStart(start, res)) return;
    const id = randomUUID();
    const session = this.#open(id, 'sse');
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    session.attach(res);
    res.write(`event: endpoint\ndata: /message?sessionId=${id}\n\n`);
    res.once('close', () => {
      session.close();
      this.#sessions.delete(id);
    });
  }

  async #mcp(req: IncomingMessage, res: ServerResponse, message: RpcMessage | undefined): Promise<void> {
    const sessionId = req.headers['mcp-session-id'];
    const session = typeof sessionId === 'string' ? this.#sessions.get(sessionId) : undefined;
    if (typeof sessionId === 'string' && session === undefined && message?.method !== 'initialize') {
      res.writeHead(404, { 'content-type': 'text/plain' }).end('no such session');
      return;
    }
    if (req.method === 'GET') this.#get(req, res, session);
    else if (req.method === 'DELETE') {
      this.forget(String(sessionId));
      res.writeHead(200).end();
    } else if (message === undefined) res.writeHead(405).end();
    else if (isRequest(message)) await this.#post(req, res, message, session);
    else {
      session?.receive(message);
      res.writeHead(202).end();
    }
  }

  #get(req: IncomingMessage, res: ServerResponse, session: FakeHttpSession | undefined): void {
    const last = req.headers['last-event-id'];
    const kept = typeof last === 'string' ? this.#kept.get(last) : undefined;
    if (kept !== undefined) {
      this.#kept.delete(String(last));
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`event: message\ndata: ${kept}\n\n`);
    } else if (session === undefined) res.writeHead(405).end();
    else {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      session.attach(res);
    }
  }

  async #post(
    req: IncomingMessage,
    res: ServerResponse,
    message: RpcRequest,
    given: FakeHttpSession | undefined,
  ): Promise<void> {
    const { sessions, answers } = this.#core.settings;
    if (HANDSHAKES.has(message.method) && (await this.#refusedStart(this.#nextStart('http'), res))) return;
    const begins = message.method === 'initialize' && sessions;
    const id = begins ? randomUUID() : undefined;
    // Without a session each POST stands alone, as the modern era has it.
    const session = (begins ? undefined : given) ?? this.#open(id, 'http');
    const port = new HttpPort(req, res, {
      id: message.id,
      answers,
      headers: id === undefined ? {} : { 'mcp-session-id': id },
      die: this.die,
      keep: (eventId, text) => void this.#kept.set(eventId, text),
    });
    res.once('close', () => {
      if (session.id !== undefined) return;
      // The modern era cancels a call by the end of its stream.
      if (!res.writableFinished) session.cancel(message.id);
      session.close();
    });
    session.request(message, port);
  }

  async #refusedStart(start: Injection | undefined, res: ServerResponse): Promise<boolean> {
    if (start?.fault === 'refuse')
      res.writeHead(503, { 'content-type': 'text/plain' }).end('the fault plan refused it');
    if (start?.fault === 'slowStart') {
      await new Promise<void>((resolve) => systemClock.setTimer(resolve, start.delayMs ?? SLOW_START_MS));
    }
    return start?.fault === 'refuse';
  }

  #open(id: string | undefined, wire: 'http' | 'sse'): FakeHttpSession {
    const session = new FakeHttpSession(
      this.#core,
      wire,
      id,
      {
        refuse: (ms) => this.#http.refuse(ms),
        forget: (req) => this.forget(String(req.headers['mcp-session-id'])),
        expire: (req) => void this.#expired.add(req.headers.authorization ?? ''),
      },
      this.die,
    );
    if (id !== undefined) this.#sessions.set(id, session);
    return session;
  }
}
