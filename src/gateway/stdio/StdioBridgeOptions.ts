import type { Duplex, Readable, Writable } from 'node:stream';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { HttpLink } from './HttpLink.js';

export interface StdioBridgeOptions {
  readonly input: Readable;
  readonly output: Writable;
  /** The gateway's endpoint. */
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Connections that are watched from elsewhere, in place of some of its own. */
  readonly link?: HttpLink;
  /** Makes a connection within this process, in place of a socket. */
  readonly connect?: () => Duplex;
  /** Brings up a gateway that cannot be reached; rejects with why it cannot. Without it such a call fails. */
  readonly revive?: (signal: AbortSignal) => Promise<void>;
  readonly maxMessageBytes: number;
  readonly maxStreamBufferBytes: number;
  readonly maxBufferedBytes: number;
  /** A client that takes nothing of what waits for it for so long, in ms, is gone. */
  readonly stallTimeoutMs: number;
  /** How long calls in flight may still take when the client has closed its end, in ms. */
  readonly graceMs: number;
  /** Counts what servers said that a slow client lost. */
  readonly onDrop?: () => void;
  readonly signal?: AbortSignal;
  readonly logger?: Logger;
  readonly clock?: Clock;
}
