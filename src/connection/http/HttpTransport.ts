import type { Tool } from '@modelcontextprotocol/client';
import type { Clock } from '../../core/clock.js';
import { messageOf, NotSentError, OutcomeUnknownError } from '../../core/errors.js';
import { backoffMs } from '../../core/time/backoff.js';
import { within } from '../../core/time/within.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { Call } from '../channel/Call.js';
import type { Channel } from '../channel/Channel.js';
import type { ReplyPath } from '../channel/ChannelOptions.js';
import { cancelledNotice } from '../channel/codec/encode.js';
import { headerOf, type RawHeaders } from '../net/body/responseHeaders.js';
import { statusError } from '../net/body/statusError.js';
import type { Endpoint } from '../net/Endpoint.js';
import { type PlainAnswer, type PlainRequest, POST_HEADERS, submit } from '../net/PlainExchange.js';
import { ResponseTimeout } from '../net/ResponseTimeout.js';
import { PendingReplies } from '../net/replies/PendingReplies.js';
import type { Params } from '../protocol/messages.js';
import { CallExchange } from './CallExchange.js';
import type { AnswerStream, HttpCallTransport, HttpTransportSettings, Sendable, Session } from './HttpCallTransport.js';
import { PingChecks } from './PingChecks.js';
import { headerValue, paramHeaders, sayable } from './paramHeaders.js';
import { CHECK_MS, SessionDoubts, saidOfSession } from './refusedBySession.js';

const NO_SESSION: Session = Object.freeze({ id: undefined, newUntilMs: 0 });

/** What a modern request is about, as its `Mcp-Name` header says it (2026-07-28, Streamable HTTP). */
const NAMED_BY: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
]);

/** How long the session that follows a lost one is new, in ms: a server may refuse the same request in every one of them. */
const NEW = Object.freeze({ initialMs: 250, maxMs: 30_000, jitterRatio: 0 });

/** These make the session; they never wait for one. */
const HANDSHAKES: readonly string[] = ['initialize', 'server/discover'];

/**
 * A channel's transport over Streamable HTTP: a POST for each call, each with its own answer stream. It knows the era's
 * headers and the legacy era's session, and holds calls back while a lost session is replaced.
 */
export class HttpTransport implements HttpCallTransport {
  readonly endpoint: Endpoint;
  readonly settings: HttpTransportSettings;
  session: Session = NO_SESSION;
  stream: AnswerStream | undefined;
  /** The status of the newest handshake's response; 0 while there is none. */
  handshakeStatus = 0;
  readonly #replies: PendingReplies;
  readonly doubts: SessionDoubts = new SessionDoubts(this);
  #channel: Channel | undefined;
  #era: Era = 'legacy';
  #version: string | undefined;
  #common:
    | { readonly generation: number; readonly post: readonly string[]; readonly get: readonly string[] }
    | undefined;
  /** What waits for a session. Its calls keep it: one that is given up is not kept by this. */
  #held: WeakRef<Sendable>[] | undefined;
  readonly #checks: PingChecks;
  #pings = 0;
  /** Sessions lost in a row, each a short while after the one before. */
  #losses = 0;

  constructor(endpoint: Endpoint, settings: HttpTransportSettings) {
    this.endpoint = endpoint;
    this.settings = settings;
    const { logger, onOverflow } = settings;
    const { server } = endpoint;
    this.#checks = new PingChecks({ server, logger, ping: () => this.#ping() });
    this.#replies = PendingReplies.to(endpoint, logger, onOverflow);
  }

  get clock(): Clock {
    return this.settings.clock;
  }

  get channel(): Channel {
    if (this.#channel === undefined) throw new Error('a transport is used only after its channel was set');
    return this.#channel;
  }

  set channel(channel: Channel) {
    this.#channel = channel;
  }

  get era(): Era {
    return this.#era;
  }

  /** What every request says from here on. Undefined: nothing is agreed on yet. */
  speak(era: Era, version: string | undefined): void {
    this.#era = era;
    this.#version = version;
    this.#common = undefined;
  }

  send(call: Call, text: string): void {
    const exchange = new CallExchange(this, call, text);
    call.carrier = exchange;
    if (HANDSHAKES.includes(call.method)) this.handshakeStatus = 0;
    else if (this.#held !== undefined) {
      this.#held.push(new WeakRef(exchange));
      this.channel.markWaiting(call, true);
      return;
    }
    exchange.start();
  }

  begun(status: number, call: Call, headers: RawHeaders): void {
    if (!HANDSHAKES.includes(call.method)) return;
    this.handshakeStatus = status;
    if (call.method === 'initialize' && status < 300) this.#enter(headerOf(headers, 'mcp-session-id'));
  }

  resend(exchange: Sendable): void {
    if (this.#held !== undefined) this.#held.push(new WeakRef(exchange));
    else exchange.start();
  }

  pathOf(call: Call | undefined): ReplyPath {
    const carrier = call?.carrier;
    const session = carrier instanceof CallExchange ? carrier.session : this.session;
    return { session, caller: call?.options.caller };
  }

  post(text: string, path: ReplyPath = this.pathOf(undefined)): boolean {
    if (this.isLost(path.session)) return true;
    return this.#replies.send(text, () => this.#deliver(text, path.caller));
  }

  #tellCancelled(call: Call, text: string): void {
    const { session, caller } = this.pathOf(call);
    // It may wait long: not with the call, which may be large.
    this.#replies.cancel(caller, () => (this.isLost(session) ? undefined : this.#deliver(text, caller)));
  }

  /** Ids of a lost session mean nothing to the next one. */
  isLost(session: unknown): boolean {
    return this.#held !== undefined || session !== this.session;
  }

  /** Once more when its connection broke, as one does that the server closes after a while: it says the same as before. */
  async #deliver(text: string, caller: object | undefined): Promise<PlainAnswer> {
    const { session } = this;
    try {
      return await this.submit('a reply', text, [], caller);
    } catch (error) {
      const lost = error instanceof NotSentError || error instanceof OutcomeUnknownError;
      const broke = lost && error.cause !== undefined && !(error.cause instanceof ResponseTimeout);
      if (!broke || session !== this.session || this.#held !== undefined) throw error;
      return this.submit('a reply', text, [], caller);
    }
  }

  /** Resolves when the server has accepted the end of the handshake. */
  async initialized(method: string, text: string): Promise<void> {
    const { server } = this.endpoint;
    const { status, headers, body } = await this.submit(method, text);
    if (status >= 300) throw statusError({ server, method, status, headers, body, wallNowMs: this.clock.wallNow() });
  }

  /** Resolves when the server has accepted it. */
  async notify(method: string, text: string, params: Params | undefined, caller?: object): Promise<void> {
    const { server } = this.endpoint;
    if (this.#held !== undefined) throw new NotSentError(server, 'its session is being replaced');
    const { session } = this;
    const { status, headers, body } = await this.submit(method, text, this.#about(method, params), caller);
    if (status < 300) return;
    if (await this.#lost(session, status, body)) throw new NotSentError(server, 'its session is gone');
    throw statusError({ server, method, status, headers, body, wallNowMs: this.clock.wallNow() });
  }

  /** Legacy: says so and lets go of the stream, which alone would cancel nothing. Modern: the end of the stream says it. */
  cancel(call: Call, reason: string): void {
    if (this.#era === 'legacy' && call.method !== 'initialize')
      this.#tellCancelled(call, cancelledNotice(call, reason));
    call.carrier?.end();
  }

  headersOf(call: Call, tool: Tool | undefined): string[] {
    const { post } = this.#headers();
    if (this.#era === 'legacy') return post as string[];
    const { params, options } = call;
    const about = this.#about(call.method, params);
    const own = tool === undefined ? [] : paramHeaders(tool, params?.['arguments'], options.paramsText);
    return [...post, ...sayable(call.method, [...about, ...own])];
  }

  streamHeaders(lastEventId: string | undefined): string[] {
    const { get } = this.#headers();
    return lastEventId === undefined ? [...get] : [...get, 'last-event-id', lastEventId];
  }

  isNew(session: Session): boolean {
    return this.clock.now() < session.newUntilMs;
  }

  sessionLost(session: Session): void {
    if (session !== this.session || this.#held !== undefined || this.isNew(session)) return;
    this.#losses = this.clock.now() - session.newUntilMs >= NEW.maxMs ? 1 : this.#losses + 1;
    this.session = NO_SESSION;
    this.speak('legacy', undefined);
    this.#held = [];
    this.settings.onSessionLost();
  }

  /** There is a session again: what was held goes out. */
  reopen(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const exchange of held) exchange.deref()?.start();
  }

  async confirmLost(session: Session): Promise<boolean> {
    if (session !== this.session) return true;
    return this.#checks.isLost(session);
  }

  /** Tells the server that the session is over; a server may refuse (405). */
  async leave(timeoutMs: number): Promise<void> {
    const { server } = this.endpoint;
    const { logger } = this.settings;
    if (this.session.id === undefined) return;
    try {
      const asked = submit(this.endpoint, 'DELETE', () => ({
        method: 'DELETE',
        headers: this.streamHeaders(undefined),
        body: null,
        timeoutMs,
      }));
      // Other credentials are asked for in that time, too.
      const late = (): Error => new Error(`no end within ${timeoutMs} ms`);
      const { status } = await within(asked, { clock: this.endpoint.clock, timeoutMs, late });
      if (status >= 300) logger.debug({ server, status }, 'the server refused to end the session');
    } catch (error) {
      logger.debug({ server, error: messageOf(error) }, 'the session could not be ended');
    }
  }

  submit(
    what: string,
    text: string,
    about: readonly string[] = [],
    caller?: object,
    timeoutMs = this.settings.replyTimeoutMs,
  ): Promise<PlainAnswer> {
    const request = (): PlainRequest => ({
      method: 'POST',
      headers: [...this.#headers().post, ...about],
      body: text,
      timeoutMs,
    });
    return submit(this.endpoint, what, request, caller);
  }

  isWell(method: string): Promise<boolean> {
    return this.#checks.isWell(method);
  }

  #ping(): Promise<PlainAnswer> {
    const text = JSON.stringify({ jsonrpc: '2.0', id: `ping-${++this.#pings}`, method: 'ping' });
    return this.submit('ping', text, this.#about('ping', undefined), undefined, CHECK_MS);
  }

  async #lost(session: Session, status: number, body: Buffer): Promise<boolean> {
    const said = this.#era === 'modern' || session.id === undefined ? undefined : saidOfSession(status, body);
    if (said === undefined || !(said.isGone || (await this.confirmLost(session)))) return false;
    this.sessionLost(session);
    return true;
  }

  /** `initialize` was answered: every request belongs to this session from here on. */
  #enter(id: string | undefined): void {
    this.session = { id, newUntilMs: this.#losses === 0 ? 0 : this.clock.now() + backoffMs(this.#losses, NEW) };
    this.#common = undefined;
  }

  /** `Mcp-Method` and `Mcp-Name`; none in the legacy era. */
  #about(method: string, params: Params | undefined): string[] {
    if (this.#era === 'legacy') return [];
    const name = params?.[NAMED_BY.get(method) ?? ''];
    return typeof name === 'string' ? ['mcp-method', method, 'mcp-name', headerValue(name)] : ['mcp-method', method];
  }

  #headers(): { readonly post: readonly string[]; readonly get: readonly string[] } {
    const { headers, generation } = this.endpoint;
    if (this.#common?.generation === generation) return this.#common;
    const own = [
      ...(this.#version === undefined ? [] : ['mcp-protocol-version', this.#version]),
      ...(this.session.id === undefined ? [] : ['mcp-session-id', this.session.id]),
    ];
    this.#common = {
      generation,
      post: [...POST_HEADERS, ...own, ...headers],
      get: ['accept', 'text/event-stream', 'accept-encoding', 'identity', ...own, ...headers],
    };
    return this.#common;
  }
}
