import type { RpcId } from '../messages.js';
import type { WireEnd } from '../WireCall.js';

export interface HttpPortOptions {
  /** The request's own id: its answer may be one JSON body. */
  readonly id: RpcId;
  readonly answers: 'json' | 'events';
  /** Headers of every response. */
  readonly headers: Readonly<Record<string, string>>;
  /** The whole server dies. */
  readonly die: (end: WireEnd) => void;
  /** Keeps an answer for the client that asks for the rest of a stream by its last event's id. */
  readonly keep: (eventId: string, text: string) => void;
}
