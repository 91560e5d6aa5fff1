import type { Clock } from '../core/clock.js';
import type { Closeable } from '../core/close/CloseScope.js';
import type { Logger } from '../core/logger.js';
import type { ChannelCounters } from './channel/Channel.js';
import type { ListPace } from './ListPace.js';
import type { CallOptions, Params, RequestHandler, ServerInfo, ServerNotice } from './protocol/messages.js';

/** How a connection ended. */
export interface DisconnectReason {
  /** True when our side ended it. */
  readonly expected: boolean;
  readonly why: string;
  readonly exitCode?: number | null;
  readonly signal?: string | null;
}

/** An open `subscriptions/listen`: `cut` means that its stream broke, so that it may be opened again. */
export interface OpenListen {
  /** What the server agreed to tell, in the words of the wire. */
  readonly filter: Params;
  readonly ended: Promise<void>;
  readonly endedBy: 'closed' | 'finished' | 'cut' | undefined;
  close(): Promise<void>;
}

type Listen = (
  filter: Params,
  options: {
    readonly onNotification: (notice: ServerNotice) => void;
    readonly signal?: AbortSignal;
    /** In whose share its stream is; without one it is of no share. */
    readonly owner?: string | undefined;
  },
) => Promise<OpenListen>;

/** Who sends a notification, as the credentials hook is told when the server refuses it (401). */
export interface NotifyOptions {
  readonly caller?: object;
}

/** What holds for the calls of a connection where they do not say. */
export interface ConnectionLimits {
  readonly clock: Clock;
  readonly maxMessageBytes: number;
  readonly timeoutMs: number;
  readonly acquireTimeoutMs: number;
  readonly maxTotalTimeoutMs: number;
}

/** One initialised connection to one server: what the pools share out. Each transport is one. */
export interface Connection extends Closeable {
  readonly server: string;
  readonly info: ServerInfo;
  /** The process behind it, on stdio. */
  readonly pid: number | undefined;
  /** False from the moment it died or began to close. */
  readonly alive: boolean;
  /** Epoch ms of its start. */
  readonly startedAt: number;
  readonly counters: Readonly<ChannelCounters>;
  /** For what stands in front of it and must keep to the same (`faulty`). */
  readonly limits?: ConnectionLimits | undefined;
  readonly inFlight: number;
  /**
   * While an answer is owed to a call that was given up, so that what comes and belongs to no call may be that one's: resolves when it is
   * owed none. Undefined else, and where each call has a stream of its own.
   */
  readonly inDoubt?: Promise<void> | undefined;
  /** Bytes the server has not taken yet. */
  readonly unsentBytes: number;
  request(method: string, params: Params | undefined, options: CallOptions): Promise<unknown>;
  notify(method: string, params?: Params, options?: NotifyOptions): Promise<void>;
  /** @internal Whether calls wait for it that are not in flight on it. For its pool to set. */
  wanted?: (() => boolean) | undefined;
  /** @internal A call began to wait for it: a large answer that is held up by a slow reader is read on. */
  hurry?(): void;
  /** Modern era: a `subscriptions/listen` of its own, until closed, ended by the server, or the connection's death. */
  readonly listen?: Listen | undefined;
  /** Calls back once, in the turn of its death, after its calls were failed; at once when it is dead already. */
  onClose(listener: (death: DisconnectReason) => void): Disposable;
  /** Notifications that belong to no call. */
  onNotification(listener: (notice: ServerNotice) => void): Disposable;
  /** What answers requests that belong to no call; one at a time. Without one they get -32601. */
  setRequestHandler(handler: RequestHandler | undefined): void;
}

/** What every transport takes from its pool. */
export interface ConnectionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly maxMessageBytes: number;
  readonly timeoutMs: number;
  readonly acquireTimeoutMs: number;
  readonly maxTotalTimeoutMs: number;
  /** Longest start, handshake included. */
  readonly startTimeoutMs: number;
  /** Paces what is said of lists, for all connections of the server. */
  readonly listPace?: ListPace | undefined;
  /** Told of each answered call: ms from send to answer. */
  readonly onAnswer?: (latencyMs: number) => void;
}
