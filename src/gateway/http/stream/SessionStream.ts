import type { ServerResponse } from 'node:http';
import type { JsonBody } from '../respond.js';
import type { Frame } from './Frame.js';

/** Where messages for a client go, one event each. */
export interface MessageStream {
  /** Whether a connection takes what comes; undefined for a stream that is one connection. */
  readonly open?: boolean;
  /** A message that may be lost: false when it did not get away. */
  offer(message: string | Frame): boolean;
  /** A message that may not be lost: an answer. */
  send(json: JsonBody): void;
  /** Keeps what stands between from cutting a quiet stream. */
  heartbeat(): void;
  end(): void;
}

/** A stream that outlives its connection. */
export interface SessionStream extends MessageStream {
  /** What the session knows it by. */
  readonly id: string;
  readonly open: boolean;
  /** Nothing more will come. */
  readonly ended: boolean;
  /** The client's connection for it, from here on; an older one ends. */
  attach(response: ServerResponse, headers?: Readonly<Record<string, string>>): void;
  /** Tells where to resume before anything was said. */
  prime(): void;
  /** Ends its connection alone: the client comes back for the rest. */
  cut(): void;
}

/** The streams of one session that its client may resume. */
export interface SessionStreams {
  /** For what belongs to no call. */
  own(): SessionStream;
  /** For a call, by its id as JSON text. */
  call(callId?: string): SessionStream;
  /**
   * False when that event's stream is not one of this session, or not known any more. `own`: for what belongs to no call, made when there was
   * none, since another process had it.
   */
  resume(
    eventId: string,
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    own: () => SessionStream,
  ): boolean | Promise<boolean>;
  close(): void;
}

/** Streams of calls that are over, kept for clients that have not seen their end. */
export const MAX_ENDED = 8;
/** When a client whose stream broke may come back, in ms. */
export const RETRY_MS = 1_000;
