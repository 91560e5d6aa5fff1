import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { ListPace } from '../ListPace.js';
import type { RequestHandler, ServerNotice } from '../protocol/messages.js';
import type { Call } from './Call.js';
import type { UnfinishedLine } from './unread/UnfinishedLine.js';

/** Where the answer to a server's request goes. It may wait for long: it keeps nothing of the call that the request came on. */
export interface ReplyPath {
  /** Whose call it was. */
  readonly caller?: object | undefined;
  /** The session it came in, where the transport has several one after the other. */
  readonly session?: unknown;
}

/** What a channel needs of its transport. */
export interface ChannelTransport {
  /** Takes a call's text. It calls `channel.markSent(call)` right before the first byte goes out. */
  send(call: Call, text: string): void;
  /** Sends a notification or a reply. Best effort. `false`: it is large, others wait already, and it was dropped. */
  post(text: string, path?: ReplyPath): unknown;
  /** Of a request that came on that call's stream, or on none, where the transport attributes. */
  pathOf?(call: Call | undefined): ReplyPath;
  /** Ends a sent call upstream whose caller has given it up, where the transport itself does that; else the channel does. */
  cancel?(call: Call, reason: string): void;
}

export interface ChannelOptions {
  /** The server's name, for errors. */
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes of one outgoing message. */
  readonly maxMessageBytes: number;
  /** Longest call in ms from its send, where the call does not say. */
  readonly timeoutMs: number;
  readonly acquireTimeoutMs: number;
  /** Longest call however much progress comes. */
  readonly maxTotalTimeoutMs: number;
  /** What has begun to come, where one stream brings the answers of all calls. */
  readonly unfinished?: () => UnfinishedLine | undefined;
  /** Notifications that belong to no call. */
  readonly onNotification?: (notice: ServerNotice) => void;
  /** Requests that belong to no call; without one they get -32601. */
  readonly onRequest?: RequestHandler;
  /** Told how many messages an array held that came as one. */
  readonly onBatch?: (messages: number) => void;
  /** Told of each answer that was read, by its method and length. */
  readonly listPace?: ListPace | undefined;
  /** Told of each answered call: ms from send to answer. */
  readonly onAnswer?: (latencyMs: number) => void;
}

export interface ChannelCounters {
  /** Calls handed to the transport. */
  calls: number;
  /** Replies to calls that had settled. */
  lateReplies: number;
  /** What came and was no message of the protocol, or answered a call never made. */
  garbage: number;
  /** Requests of the server that belonged to no call. */
  orphanRequests: number;
  /** Times that a callback of ours or of a caller threw; each is logged, and the connection goes on. */
  callbackErrors: number;
}
