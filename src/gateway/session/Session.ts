import type { ServerResponse } from 'node:http';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/client';
import { methodNotFound } from '../../connection/channel/ServerRequests.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { ClosedError, OutcomeUnknownError, QueueFullError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inGroups } from '../../core/time/inSlices.js';
import { sharedAbort } from '../../core/wait/sharedAbort.js';
import type { Caller, RequestHandler, ServerNotice, Subscription } from '../../pool/McpPool.js';
import type { Downstream, Endpoint } from '../endpoint/Endpoint.js';
import type { NoticeFrames } from '../http/stream/Frame.js';
import { ResumableStreams } from '../http/stream/ResumableStreams.js';
import type { MessageStream, SessionStream, SessionStreams } from '../http/stream/SessionStream.js';
import type { EventStore } from '../http/stream/stored/EventStore.js';
import { StoredStreams } from '../http/stream/stored/StoredStreams.js';
import { canBeAsked } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { type Told, toldText } from '../rpc/notices.js';
import { withKey } from '../users/withKey.js';
import {
  type AskOptions,
  type ClientAnswer,
  ClientRequests,
  type ClientRequestsLimits,
  type Send,
} from './ClientRequests.js';
import { originOf } from './origin.js';
import type { Reply } from './Reply.js';
import { CancelledByClient, type ReasonOf, SessionCall } from './SessionCall.js';
import { SessionSubscriptions, type SubscriptionRoom } from './SessionSubscriptions.js';

export interface SessionLimits extends ClientRequestsLimits {
  readonly stallTimeoutMs: number;
  readonly maxSubscriptionsPerSession: number;
  readonly maxStreamBufferBytes: number;
  /** Made once for all sessions, as is the room of their subscriptions. */
  readonly frames: NoticeFrames;
  readonly subscriptionRoom: SubscriptionRoom;
  /** Keeps what clients may have missed of their streams. @defaultValue in memory, as it was written */
  readonly eventStore?: EventStore | undefined;
  readonly logger: Logger;
  /** Whether another replica is there. */
  readonly isAlive: (replica: string) => Promise<boolean>;
}

/** What a session is known by. */
export interface SessionIdentity {
  /** A secret between its client and us: its ticket. */
  readonly id: string;
  readonly key: string;
}

/** What a client says of itself. */
export interface SessionClient {
  readonly protocolVersion: string;
  readonly capabilities?: ClientCapabilities | undefined;
  readonly clientInfo?: Implementation | undefined;
  /** Where it connected from; undefined when that is not known. */
  readonly address?: string | undefined;
  /** It lives on a connection of its client: no other process can go on with it. */
  readonly stays?: boolean;
}

/** Clients of that version on know events without data. */
const FIRST_PRIMED = '2025-11-25';

/** One client of one endpoint: what it has in flight, its stream, what it subscribed to. */
export class Session implements Downstream {
  readonly id: string;
  readonly key: string;
  readonly endpoint: Endpoint;
  readonly protocolVersion: string;
  readonly era = 'legacy';
  readonly caller: Caller;
  readonly capabilities: ClientCapabilities | undefined;
  readonly clientInfo: Implementation | undefined;
  /** Whose share of the sessions it counts to. */
  readonly origin: string;
  readonly held: ClientRequests['held'];
  logLevel: string | undefined;
  usedMs: number;
  /** Notifications lost because they were not read, or not fast enough. */
  dropped = 0;
  readonly #limits: SessionLimits;
  /** Oldest first. No Map: see `IdTable`. */
  readonly #inFlight: SessionCall[] = [];
  readonly #subscriptions: SessionSubscriptions;
  readonly #asks: ClientRequests;
  readonly #life = sharedAbort();
  readonly #streams: SessionStreams;
  /** For what belongs to no call, from the first time that its client opened it. */
  #stream: SessionStream | undefined;
  #ended = false;

  constructor(
    { id, key }: SessionIdentity,
    endpoint: Endpoint,
    client: SessionClient,
    limits: SessionLimits,
    clock: Clock,
  ) {
    this.id = id;
    this.key = key;
    this.endpoint = endpoint;
    this.protocolVersion = client.protocolVersion;
    this.capabilities = client.capabilities;
    this.clientInfo = client.clientInfo;
    const base = endpoint.anyone.caller;
    this.caller = base === undefined ? { key: this.key } : withKey(base, this.key);
    this.origin = originOf(endpoint, client.address);
    this.#asks = new ClientRequests(this.origin, (message) => this.#send(message), limits, clock);
    this.held = this.#asks.held;
    this.#limits = limits;
    const { eventStore: store, subscriptionRoom: room, maxSubscriptionsPerSession: max } = limits;
    this.#subscriptions = new SessionSubscriptions({ origin: this.origin, room, max });
    const primed = client.protocolVersion >= FIRST_PRIMED;
    this.#streams =
      store === undefined
        ? new ResumableStreams(limits, this.origin, primed)
        : new StoredStreams({ ...limits, key: this.key, store, bounds: limits, owner: this.origin, primed, clock });
    this.usedMs = clock.now();
  }

  /** Whether its client listens. */
  get listening(): boolean {
    return this.#stream?.open === true;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  /** Nothing is in flight; its client may listen. */
  get quiet(): boolean {
    return this.#inFlight.length === 0 && this.#asks.size === 0;
  }

  /** Nothing is in flight and no stream is open: it may be forgotten. */
  get idle(): boolean {
    return this.quiet && this.#stream?.open !== true;
  }

  /** Its client had a stream and has left, with nothing in flight: it ended without saying so, or it may come back. */
  get abandoned(): boolean {
    return this.quiet && this.#stream?.open === false;
  }

  /** Its client is away: no stream is open, and the clients of all calls in flight have gone. */
  get unattended(): boolean {
    if (this.#stream?.open === true) return false;
    return this.#inFlight.every(({ reply }) => !reply.attended);
  }

  /** Enters a request by its key, answered in `reply`: it is aborted when the client cancels it or the session ends. */
  begin(id: string, reply: Reply): SessionCall {
    if (this.#ended) throw new ClosedError('session');
    if (this.#find(id) !== undefined) throw new Refusal(RPC_CODES.invalidRequest, 'a request of this id is in flight');
    const { maxRequestsPerSession: max } = this.#limits;
    const { length } = this.#inFlight;
    if (length >= max) throw new QueueFullError('requests of this session', length, max);
    const call = new SessionCall(id, reply);
    this.#inFlight.push(call);
    if (this.#asks.size > 0) this.#asks.flush((message) => reply.offer(message));
    return call;
  }

  finish(call: SessionCall): void {
    const at = this.#inFlight.indexOf(call);
    if (at >= 0) this.#inFlight.splice(at, 1);
  }

  /** Cancels a request in flight: by its client, with what that says of it, unless `why` is an error. False for one that is not. */
  cancel(id: string | undefined, why?: unknown): boolean {
    const call = id === undefined ? undefined : this.#find(id);
    call?.abort(why instanceof Error ? why : new CancelledByClient(why));
    return call !== undefined;
  }

  /** Opens the stream for what belongs to no call. An older one ends: its client came back before we saw it leave. */
  openStream(response: ServerResponse): void {
    this.#stream ??= this.#streams.own();
    this.#stream.attach(response, { 'mcp-session-id': this.id });
    this.#asks.flush();
  }

  /** Has what belongs to no call go down that stream, which its client has open. */
  hear(stream: SessionStream): void {
    this.#stream = stream;
    this.#asks.flush();
  }

  /** A stream for one call, which can be resumed. */
  callStream(response: ServerResponse, silent: boolean, callId?: string): MessageStream {
    const stream = this.#streams.call(callId);
    stream.attach(response);
    if (silent) stream.prime();
    return stream;
  }

  /** Goes on with a stream behind the event that the client has; false when there is no such stream any more. */
  async resume(eventId: string, response: ServerResponse): Promise<boolean> {
    const resumed = await this.#streams.resume(eventId, response, { 'mcp-session-id': this.id }, () => {
      this.#stream ??= this.#streams.own();
      return this.#stream;
    });
    if (resumed) this.#asks.flush();
    return resumed;
  }

  /** Where what is in flight is answered. */
  get replies(): readonly Reply[] {
    return this.#inFlight.map(({ reply }) => reply);
  }

  /** Keeps what stands between from cutting its stream. */
  heartbeat(): void {
    this.#stream?.heartbeat();
  }

  /** Sends what belongs to no call; it is lost while no stream is open. */
  notify(method: string, params: unknown): void {
    if (this.#stream?.offer(this.#limits.frames.of(method, params)) !== true) this.dropped++;
  }

  tell(method: string, params: unknown, server?: string): void {
    const calls = server === undefined ? this.#inFlight : this.#inFlight.filter((each) => each.server === server);
    if (!this.#send({ method, params }, calls)) this.dropped++;
  }

  /** Whether the client can be asked this. */
  canBeAsked(method: string): boolean {
    return !this.#ended && canBeAsked(this.capabilities, method);
  }

  /** Answers a request that came on a call's own stream: asks on the stream of that call. */
  answerFor({ method, params }: ServerNotice, context: Parameters<RequestHandler>[1], via: Send): Promise<unknown> {
    if (!this.canBeAsked(method)) return Promise.reject(methodNotFound('the client', method));
    return this.#asks.ask({ server: 'the client', ...context, method, params, via });
  }

  /** Hands a server's request to the client, and its answer back. */
  ask(options: AskOptions): Promise<unknown> {
    return this.#asks.ask(options);
  }

  /** What the client answered to a request of `ask`; false when another process asked it. */
  answered(id: unknown, answer: ClientAnswer): boolean {
    return this.#asks.answer(id, answer);
  }

  subscribe(uri: string, subscribe: () => Promise<Subscription>, signal?: AbortSignal): Promise<void> {
    return this.#subscriptions.add(uri, subscribe, signal);
  }

  unsubscribe(uri: string): Promise<void> {
    return this.#subscriptions.remove(uri);
  }

  /** Ends the stream alone, so that a shutdown is not held up by it. */
  endStream(): void {
    this.#stream?.cut();
  }

  /** Fails what is in flight, ends the stream and gives the subscriptions back. */
  async end(reason: unknown = new ClosedError('session')): Promise<void> {
    this.#ended = true;
    // They may have run: "closed" alone would say that they never did.
    const why = 'its session ended';
    this.failInFlight((server = 'gateway') => new OutcomeUnknownError(server, 'the call', why, { cause: reason }));
    this.#asks.close(reason);
    this.#life.abort(reason);
    this.endStream();
    this.#streams.close();
    await this.#subscriptions.close();
  }

  /** In turns of the event loop, where they are many. */
  failInFlight(reasonOf: ReasonOf): void {
    void inGroups([...this.#inFlight], (call) => call.abort(reasonOf(call.server)));
  }

  /** Ahead of the answer to the only one of these calls, else down the stream, else ahead of the newest that takes events. */
  #send(message: Told, calls: readonly SessionCall[] = this.#inFlight): boolean {
    const [oldest] = calls;
    if (calls.length === 1 && oldest?.reply.offer(message) === true) return true;
    if (this.#stream?.offer(toldText(message)) === true) return true;
    return [...calls].reverse().some(({ reply }) => reply.offer(message));
  }

  #find(id: string): SessionCall | undefined {
    return this.#inFlight.find((call) => call.id === id);
  }
}
