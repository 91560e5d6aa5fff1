import type { IncomingMessage, ServerResponse } from 'node:http';
import { IncomingBytes } from '../../connection/net/body/IncomingBytes.js';
import { systemClock } from '../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { OptionError } from '../../core/errors.js';
import { guardedLogger, silentLogger } from '../../core/logger.js';
import { checkCount, checkText, withDefaults } from '../../core/options.js';
import { withoutSecrets } from '../../core/text/withoutSecrets.js';
import { sleep } from '../../core/time/sleep.js';
import { planState } from '../fake/planState.js';
import { EventLog, type FaultLogOptions } from '../faults/EventLog.js';
import type { KitEvent } from '../faults/events.js';
import { FaultPlan, type FaultPlanOptions } from '../faults/FaultPlan.js';
import { faultEvent } from '../faults/faultEvent.js';
import { HTTP_LISTENER_DEFAULTS, HttpListener, type HttpListenerOptions } from '../wire/http/HttpListener.js';
import { HANDSHAKES, SLOW_START_MS } from '../wire/http/handshakes.js';
import { readBody } from '../wire/http/readBody.js';
import { isCostly, isRequest, parseMessage, passedUnread, type RpcMessage } from '../wire/messages.js';
import { SpentIds } from '../wire/SpentIds.js';
import type { WireEnd } from '../wire/WireCall.js';
import { WireMemory } from '../wire/WireMemory.js';
import type { ProxyHost } from './http/ProxyHost.js';
import { ProxySession } from './http/ProxySession.js';
import { SseProxySession } from './http/SseProxySession.js';
import { failed, passOn, Upstream } from './http/Upstream.js';

export interface FaultProxyOptions extends FaultLogOptions, HttpListenerOptions {
  /** Where the server is: the `http` or `https` URL of its Streamable HTTP or SSE endpoint. */
  readonly upstream: string;
  /** What goes wrong: a plan, or what makes one. @defaultValue nothing */
  readonly plan?: FaultPlan | FaultPlanOptions;
  /** The server's name, for events and for rules with a `server`. @defaultValue 'server' */
  readonly name?: string;
  /** A file that keeps how far the plan is, so that a restarted proxy goes on from there. @defaultValue none */
  readonly stateFile?: string;
}

/** Sessions that were lost on purpose and are remembered: beyond that the oldest go. */
const MAX_LOST = 10_000;
/** Of bodies and events that have not ended, all together: as much as one may have. */
const MAX_HELD_BYTES = 256 * 2 ** 20;

/**
 * An HTTP proxy in front of any MCP server or proxy, whatever its language, over Streamable HTTP or HTTP+SSE and in
 * both eras: what its plan says goes wrong, all else passes as it came. Its events are the faults, and what the server
 * was handed and answered.
 */
export class FaultProxy implements Closeable, AsyncDisposable {
  readonly plan: FaultPlan;
  readonly name: string;
  readonly #target: URL;
  readonly #upstream: Upstream;
  readonly #http = new HttpListener((req, res) => this.#serve(req, res));
  readonly #log: EventLog;
  readonly #scope: CloseScope;
  readonly #host: ProxyHost;
  readonly #sessions = new Map<string, ProxySession>();
  readonly #single = new Set<ProxySession>();
  /** SSE sessions by the path that their clients POST to. */
  readonly #streams = new Map<string, SseProxySession>();
  readonly #lost = new Set<string>();
  readonly #expired = new Set<string>();
  readonly #kept = new Map<string, string>();

  /** Resolves when it listens. @throws OptionError; the system's error when it cannot listen */
  static async listen(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    const { port, host } = options;
    await proxy.#http.listen('FaultProxy', {
      ...(port !== undefined && { port }),
      ...(host !== undefined && { host }),
    });
    return proxy;
  }

  private constructor(options: FaultProxyOptions) {
    const others = { upstream: true, plan: true, stateFile: true, onEvent: true, eventsFile: true } as const;
    const known = { ...others, maxEvents: true, logger: true } as const;
    const settings = withDefaults('FaultProxy', options, { name: 'server', ...HTTP_LISTENER_DEFAULTS }, known);
    this.name = checkText('name', settings.name);
    checkCount('port', settings.port, { max: 65_535 });
    checkText('host', settings.host);
    this.#target = targetOf(settings.upstream);
    this.#upstream = new Upstream(this.#target);
    const { plan = {}, stateFile, logger } = settings;
    this.plan = plan instanceof FaultPlan ? plan : new FaultPlan(plan, planState(stateFile, logger));
    this.#log = new EventLog(settings);
    this.#scope = new CloseScope(`fault proxy in front of ${this.#target}`, { onRelease: () => this.#release() });
    this.#host = {
      name: this.name,
      plan: this.plan,
      upstream: this.#upstream,
      memory: new WireMemory(),
      spent: new SpentIds(),
      held: new IncomingBytes(MAX_HELD_BYTES),
      tell: this.#log.tell,
      unread: (from, size) =>
        guardedLogger(logger ?? silentLogger).warn({ server: this.name }, passedUnread(from, size)),
      die: (end) => this.#die(end),
      keep: (eventId, text) => void this.#kept.set(eventId, text),
      hand: {
        refuse: (ms) => this.#http.refuse(ms),
        forget: (req) => this.#forget(String(req.headers['mcp-session-id'])),
        expire: (req) => void this.#expired.add(req.headers.authorization ?? ''),
      },
    };
  }

  get port(): number {
    return this.#http.port;
  }

  /** Where clients find it: the upstream's path on this proxy. */
  get url(): string {
    return `${this.#http.origin}${this.#target.pathname}${this.#target.search}`;
  }

  /** What went wrong, and what the server was handed and answered, oldest first. */
  get events(): readonly KitEvent[] {
    return this.#log.events;
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #release(): Promise<void> {
    for (const session of [...this.#sessions.values(), ...this.#single, ...this.#streams.values()]) session.close();
    this.#upstream.close();
    await this.#http.close();
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const bytes = await readBody(req, undefined, this.#host.held);
    const body = bytes.length > 0 || req.method === 'POST' ? bytes : undefined;
    if (this.#expired.has(req.headers.authorization ?? '')) {
      res.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
      return;
    }
    const sessionId = req.headers['mcp-session-id'];
    if (typeof sessionId === 'string' && this.#lost.has(sessionId)) {
      res.writeHead(404, { 'content-type': 'text/plain' }).end('no such session');
      return;
    }
    const message = req.method === 'POST' ? this.#parsed(bytes) : undefined;
    const stream = this.#streams.get(req.url ?? '');
    const posted = { req, body: bytes };
    if (stream !== undefined && message !== undefined) stream.posted(message, posted, res);
    else if (message !== undefined) await this.#post(message, posted, res);
    else if (req.method === 'GET') await this.#get(req, res);
    else this.#forward(req, body, res);
  }

  #parsed(body: Buffer): RpcMessage | undefined {
    if (!isCostly(body)) return parseMessage(body.toString('utf8'));
    this.#host.unread('client', body.length);
    return undefined;
  }

  async #post(message: RpcMessage, posted: { req: IncomingMessage; body: Buffer }, res: ServerResponse): Promise<void> {
    if (isRequest(message)) {
      if (HANDSHAKES.has(message.method) && (await this.#refusedStart('http', res))) return;
      this.#sessionOf(posted.req).request(message, posted, res);
    } else this.#sessionOf(posted.req).receive(message, posted, res);
  }

  /** The session that a request names; without one each POST stands alone. */
  #sessionOf({ headers }: IncomingMessage): ProxySession {
    const id = headers['mcp-session-id'];
    if (typeof id !== 'string') {
      const single = new ProxySession(this.#host, undefined, () => this.#single.delete(single));
      this.#single.add(single);
      return single;
    }
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = new ProxySession(this.#host, id);
      this.#sessions.set(id, session);
    }
    return session;
  }

  async #get(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const last = req.headers['last-event-id'];
    const kept = typeof last === 'string' ? this.#kept.get(last) : undefined;
    if (kept !== undefined) {
      this.#kept.delete(String(last));
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`event: message\ndata: ${kept}\n\n`);
      return;
    }
    // A stream that is opened before anything was agreed on is one of HTTP+SSE.
    const begins = req.headers['mcp-session-id'] === undefined && req.headers['mcp-protocol-version'] === undefined;
    if (!begins || !String(req.headers.accept).includes('text/event-stream')) {
      this.#forward(req, undefined, res);
      return;
    }
    if (await this.#refusedStart('sse', res)) return;
    const session = new SseProxySession(this.#host, res);
    let path: string | undefined;
    const sent = this.#upstream.send(req, undefined, {
      plain: true,
      onResponse: (got) => {
        if (got.statusCode !== 200) passOn(got, res);
        else
          session
            .run(got, (endpoint) => {
              const { pathname, search } = new URL(endpoint, this.#target);
              path = pathname + search;
              this.#streams.set(path, session);
              return path;
            })
            .catch(() => res.destroy());
      },
      onFail: (error) => failed(error, res),
    });
    res.once('close', () => {
      if (path !== undefined) this.#streams.delete(path);
      session.close();
      sent.destroy();
    });
  }

  /** What no plan is about: streams for what belongs to no call, the end of a session, and whatever else there is. */
  #forward(req: IncomingMessage, body: Buffer | undefined, res: ServerResponse): void {
    const id = String(req.headers['mcp-session-id']);
    const session = this.#sessions.get(id);
    const sent = this.#upstream.send(req, body, {
      plain: false,
      onResponse: (got) => passOn(got, res, { open: () => session?.stalled !== true }),
      onFail: (error) => failed(error, res),
    });
    if (req.method === 'DELETE') {
      session?.close();
      this.#sessions.delete(id);
    }
    res.once('close', () => {
      if (!res.writableFinished) sent.destroy();
    });
  }

  async #refusedStart(wire: 'http' | 'sse', res: ServerResponse): Promise<boolean> {
    const start = this.plan.nextStart({ server: this.name, wire });
    if (start === undefined) return false;
    this.#log.tell(faultEvent(start));
    if (start.fault === 'slowStart') {
      const gone = new AbortController();
      res.once('close', () => gone.abort());
      await sleep(systemClock, start.delayMs ?? SLOW_START_MS, gone).catch(() => undefined);
    }
    if (start.fault !== 'refuse') return res.destroyed;
    res.writeHead(503, { 'content-type': 'text/plain' }).end('the fault plan refused it');
    return true;
  }

  /** To its clients the server is dead, and there again at once: every session is unknown. */
  #die({ signal }: WireEnd): void {
    for (const id of [...this.#sessions.keys()]) this.#forget(id);
    for (const session of [...this.#single, ...this.#streams.values()]) session.close();
    this.#upstream.cutAll();
    if (signal === undefined) this.#http.cutAll();
    else this.#http.resetAll();
  }

  #forget(id: string): void {
    this.#sessions.get(id)?.close();
    this.#sessions.delete(id);
    this.#lost.add(id);
    for (const oldest of this.#lost) {
      if (this.#lost.size <= MAX_LOST) break;
      this.#lost.delete(oldest);
    }
  }
}

function targetOf(upstream: unknown): URL {
  const expected = "a URL such as 'http://127.0.0.1:3000/mcp'";
  if (typeof upstream !== 'string') throw new OptionError('upstream', upstream, expected);
  const url = URL.canParse(upstream) ? new URL(upstream) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:')
    throw new OptionError('upstream', withoutSecrets(upstream), expected);
  return url;
}
