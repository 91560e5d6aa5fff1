import { WheelEntry } from '../../core/time/TimeoutWheel.js';
import type { AbortEntry, AbortGroup } from '../../core/wait/Cancellation.js';
import { IdTable } from '../../core/wait/IdTable.js';
import type { CallOptions, Params } from '../protocol/messages.js';
import { ownId } from './codec/ownId.js';

/** Where a call stands: `queued` (not one byte handed to the transport), `sent`, `settled`. */
export type CallPhase = 'queued' | 'sent' | 'settled';

/** A call's own request on a transport that makes one for each. */
export interface Carrier {
  /** Bytes of the call's answer that have come and are not read yet. */
  readonly arrivedBytes?: number;
  /** How an error goes on for a call that was taken without its answer. */
  readonly taken?: string | undefined;
  /** Its call has settled: nothing more of it is wanted. */
  linger(): void;
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
  /** It waits for a session in the place of a lost one. */
  awaitsSession = false;
  /** Its text, while a transport holds it back; emptied when it is on its way. */
  text = '';
  phase: CallPhase = 'queued';
  /** Clock ms of the first send, and of the newest. */
  firstMs: number | undefined;
  sentMs = 0;
  /** Clock ms at which its own time is over: what the first send and progress set, and what stands still puts off. */
  dueMs = Number.POSITIVE_INFINITY;
  /** Requests of the server that its client is being asked, while which its time stands still. */
  asked = 0;
  /** Clock ms since when it stands still. */
  askedMs = 0;
  /** Ms that it stood still so far. */
  heldMs = 0;
  /** Bytes of its answer that had come at the last look after its time was over, and clock ms at which it is over for good. */
  arrived = 0;
  endsMs = 0;
  /** What it fails with if its answer does not come soon, and clock ms by which: another message seems to have been that. */
  doubt: { readonly error: Error; untilMs: number } | undefined;
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

/** More are not told apart: each may still be answered, for ever. */
const MAX_GIVEN_UP = 1_000;

/** The calls of one channel, by their ids. */
export class CallTable {
  readonly #calls = new IdTable<Call>();
  #raw = 0;
  /** Whether there was a call whose result stays bytes. */
  everRaw = false;
  /** Told of each call that is owed no answer any more, while it is asked for; of undefined when that is not known any more. */
  onAnswered: ((id: number | undefined) => void) | undefined;
  #newest = 0;
  #onIdle: (() => void)[] = [];
  /** Ids of calls that were given up and not answered. */
  readonly #givenUp = new Set<number>();
  #onCertain: (() => void)[] = [];
  /** The newest call's id when the newest of what has no answer went out, until a later one is answered. */
  #notifiedAt: number | undefined;

  get size(): number {
    return this.#calls.size;
  }

  /** Calls whose results stay bytes. */
  get raw(): number {
    return this.#raw;
  }

  /** The id of the next call, whether it is added or not. */
  nextId(): number {
    return ++this.#newest;
  }

  /** The call that an answer's id is of, and that waits for it. One that was never sent cannot be answered. */
  sent(id: unknown): Call | undefined {
    const own = typeof id === 'number' ? id : ownId(id);
    const call = own === undefined ? undefined : this.get(own);
    return call?.phase === 'sent' ? call : undefined;
  }

  /** The calls that the other side owes an answer, those given up among them; undefined when there are too many to know. */
  owed(): number[] | undefined {
    if (this.#givenUp.size >= MAX_GIVEN_UP) return undefined;
    const sent = this.values().filter(({ phase }) => phase === 'sent');
    return [...this.#givenUp, ...sent.map(({ id }) => id)];
  }

  /** Resolves when no call that was given up is owed one; undefined when none is now. */
  get inDoubt(): Promise<void> | undefined {
    if (this.#givenUp.size === 0) return undefined;
    return new Promise((resolve) => void this.#onCertain.push(resolve));
  }

  /** The only call that is owed one, if there is just one. */
  onlyOwed(): Call | undefined {
    if (this.size !== 1 || this.#givenUp.size > 0) return undefined;
    return this.values()[0];
  }

  /** Whether an error without an id of ours may be about a notification, or a reply, which some servers answer so. */
  get notified(): boolean {
    return this.#notifiedAt !== undefined;
  }

  /** A notification, or a reply, goes out. */
  notifies(): void {
    this.#notifiedAt = this.#newest;
  }

  /** A call was answered: what went out before it was read. */
  answered({ id }: Call): void {
    if (this.#notifiedAt !== undefined && id > this.#notifiedAt) this.#notifiedAt = undefined;
  }

  /** A sent call is given up, of which the server is told: its answer may still come. */
  gaveUp(id: number): void {
    this.notifies();
    if (this.#givenUp.size < MAX_GIVEN_UP) this.#givenUp.add(id);
    if (this.#givenUp.size >= MAX_GIVEN_UP) this.onAnswered?.(undefined);
  }

  /** The answer to a call that was given up came. */
  answeredLate(id: unknown): void {
    const own = ownId(id) ?? 0;
    // Beyond the bound those that are left are not known.
    if (this.#givenUp.size < MAX_GIVEN_UP) this.#givenUp.delete(own);
    if (this.#givenUp.size === 0) for (const tell of this.#onCertain.splice(0)) tell();
    this.onAnswered?.(own);
  }

  /** Whether an answer's id was given out, and its call has settled. */
  isPast(id: unknown): boolean {
    const own = ownId(id) ?? 0;
    return Number.isInteger(own) && own > 0 && own <= this.#newest && this.get(own) === undefined;
  }

  /** By an id as a message has it. */
  find(id: unknown): Call | undefined {
    const own = ownId(id);
    return own === undefined ? undefined : this.get(own);
  }

  get(id: number): Call | undefined {
    return this.#calls.get(id);
  }

  /** Its id must be new. */
  add(call: Call): void {
    this.#calls.add(call);
    if (call.options.raw === true) {
      this.#raw++;
      this.everRaw = true;
    }
  }

  delete(call: Call): void {
    if (!this.#calls.delete(call)) return;
    call.carrier?.linger();
    if (call.options.raw === true) this.#raw--;
    if (this.onAnswered !== undefined && !this.#givenUp.has(call.id)) this.onAnswered(call.id);
    if (this.size === 0 && this.#onIdle.length > 0) for (const tell of this.#onIdle.splice(0)) tell();
  }

  /** Resolves when there is none. */
  idle(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#onIdle.push(resolve));
  }

  /** All of them, oldest first. */
  values(): Call[] {
    return this.#calls.values();
  }
}
