import type { Tool } from '@modelcontextprotocol/client';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { Call } from '../channel/Call.js';
import type { RawHeaders } from '../net/body/responseHeaders.js';
import type { CallTransport } from '../net/CallRequest.js';
import type { SessionDoubts } from './refusedBySession.js';

/** One session of the legacy era, by identity; `id` is what the server calls it, if it does. */
export interface Session {
  readonly id: string | undefined;
  /** Clock ms. What it refuses before says nothing of its loss: the one before was lost a short while ago. */
  readonly newUntilMs: number;
}

export interface HttpTransportSettings {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Longest time, in ms, that a notification or a reply may take to be accepted. */
  readonly replyTimeoutMs: number;
  /** Sends calls again that a lost session refused; else they fail and the connection ends. */
  readonly resendOnSessionLoss: boolean;
  /** Gives the newest definition of a tool whose headers the server refused. */
  readonly refreshTool: ((name: string) => Promise<Tool | undefined>) | undefined;
  /** The server takes none of our replies. */
  readonly onOverflow: (why: string) => void;
  /** The session is gone; calls wait until `reopen`. */
  readonly onSessionLost: () => void;
}

/** What can be sent off, or off again. */
export interface Sendable {
  start(): void;
}

/** The stream of a session, as far as answers may come on it. */
export interface AnswerStream {
  /** A call was taken without an answer: `fail` is called when its stream ends, unless it is let go of before. False when that is not open. */
  awaits(call: Call, fail: () => void): boolean;
  letGo(call: Call): void;
}

/** What a call's exchange asks of its transport. */
export interface HttpCallTransport extends CallTransport {
  readonly settings: HttpTransportSettings;
  readonly era: Era;
  /** The session there is now. */
  readonly session: Session;
  /** The stream of that session; undefined where it has none. */
  readonly stream: AnswerStream | undefined;
  cancel(call: Call, reason: string): void;
  /** Headers of a call's POST. */
  headersOf(call: Call, tool: Tool | undefined): string[];
  /** Headers of a GET. `lastEventId`: of the event behind which it goes on, as a header says it. */
  streamHeaders(lastEventId: string | undefined): string[];
  /** A response began: while there is no session yet, it may be what tells the era. */
  begun(status: number, call: Call, headers: RawHeaders): void;
  /** Sends a call again that was refused unread. */
  resend(exchange: Sendable): void;
  /** `session` was refused with 404, or what amounts to it. Once for each, and not while it is new. */
  sessionLost(session: Session): void;
  /** Whether `session` took the place of a lost one so short a while ago that its requests are refused for another reason. */
  isNew(session: Session): boolean;
  /** Whether the server, which answered 400, does not know `session` any more: it answers a `ping` so, too. */
  confirmLost(session: Session): Promise<boolean>;
  readonly doubts: SessionDoubts;
}
