import { WheelEntry } from '../../core/time/TimeoutWheel.js';
import type { AbortEntry, AbortGroup } from '../../core/wait/Cancellation.js';
import type { CallOptions, Params } from '../protocol/messages.js';

/** Where a call stands: `queued` (not one byte handed to the transport), `sent`, `settled`. */
export type CallPhase = 'queued' | 'sent' | 'settled';

/** A call's own request on a transport that makes one for each. */
export interface Carrier {
  /** Bytes of the call's answer that have come and are not read yet. */
  readonly arrivedBytes?: number;
  /** Lets go of it; nothing more of it is handed on. */
  end(): void;
}

/** Told how a call ends otherwise than by an answer. */
export interface CallOwner {
  timedOut(call: Call): void;
  aborted(call: Call, reason: unknown): void;
}

/** One call between its request and its settling. Owned by its `Channel`; transports read it and attach their own things. */
export class Call extends WheelEntry implements AbortEntry {
  readonly id: number;
  readonly method: string;
  readonly params: Params | undefined;
  readonly options: CallOptions;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  /** Its text, while a transport holds it back; emptied when it is on its way. */
  text = '';
  phase: CallPhase = 'queued';
  /** Clock ms of the send. */
  sentMs = 0;
  /** Requests of the server that its client is being asked, while which its time stands still. */
  asked = 0;
  /** Clock ms since when it stands still. */
  askedMs = 0;
  /** Ms that it stood still so far. */
  heldMs = 0;
  /** Bytes of its answer that had come at the last look after its time was over, and clock ms at which it is over for good. */
  arrived = 0;
  endsMs = 0;
  /** The caller's own progress token; the transport has `id` in its place. */
  progressToken: string | number | undefined;
  /** Where it waits for its abort. */
  watched: AbortGroup | undefined;
  /** What carries the call, where the transport has one such thing per call. */
  carrier: Carrier | undefined;
  readonly #owner: CallOwner;

  constructor(
    id: number,
    method: string,
    params: Params | undefined,
    options: CallOptions,
    resolve: (result: unknown) => void,
    reject: (error: unknown) => void,
    owner: CallOwner,
  ) {
    super();
    this.id = id;
    this.method = method;
    this.params = params;
    this.options = options;
    this.resolve = resolve;
    this.reject = reject;
    this.#owner = owner;
  }

  override onTimeout(): void {
    this.#owner.timedOut(this);
  }

  onAbort(reason: unknown): void {
    this.#owner.aborted(this, reason);
  }
}
