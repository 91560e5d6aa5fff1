import { randomUUID } from 'node:crypto';
import type { Endpoint } from '../endpoint/Endpoint.js';
import type { EventStreamBounds } from '../http/stream/EventStream.js';
import type { Session } from '../session/Session.js';
import { SseStream } from './SseStream.js';

/** One client of the HTTP+SSE transport: its stream, and its session once it has initialised. */
export class SseClient {
  /** What it says in the URL of each post. */
  readonly id = randomUUID();
  readonly endpoint: Endpoint;
  /** Whose share it counts to. */
  readonly origin: string;
  readonly address: string | undefined;
  readonly stream: SseStream;
  /** Aborts when it is forgotten. */
  readonly gone = new AbortController();
  session: Session | undefined;
  /** The request that opens the session is on its way. */
  opening: Promise<Session> | undefined;
  /** Since when it has had no session, or else no connection. */
  sinceMs: number;

  constructor(given: {
    readonly endpoint: Endpoint;
    readonly origin: string;
    readonly address: string | undefined;
    readonly bounds: EventStreamBounds;
    readonly nowMs: number;
  }) {
    this.endpoint = given.endpoint;
    this.origin = given.origin;
    this.address = given.address;
    this.stream = new SseStream(given.bounds, given.origin);
    this.sinceMs = given.nowMs;
  }
}
