import type { ServerResponse } from 'node:http';
import { costsMore, MAX_READ_BYTES, MAX_UNASKED_COST } from '../../../../connection/channel/codec/parsingCost.js';
import type { Clock } from '../../../../core/clock.js';
import { messageOf, RequestTimeoutError } from '../../../../core/errors.js';
import type { Logger } from '../../../../core/logger.js';
import { backoffMs } from '../../../../core/time/backoff.js';
import { sleep } from '../../../../core/time/sleep.js';
import { inTurnOrNow } from '../../../../core/time/turns.js';
import { type WaitBounds, within } from '../../../../core/time/within.js';
import { NO_ROOM } from '../../holdAnswer.js';
import type { JsonBody } from '../../respond.js';
import { EventStream, type EventStreamBounds } from '../EventStream.js';
import { Frame } from '../Frame.js';
import { RETRY_MS, type SessionStream } from '../SessionStream.js';
import { streamPlaceOf } from '../streamIds.js';
import type { EventStore } from './EventStore.js';
import { tellLost } from './followStream.js';
import { ENDED, EVENT_ID, isMark, OVER, replaying, replayTexts, UNSTORED } from './replaying.js';

export interface StoredStreamOptions {
  /** What the session knows it by. */
  readonly id: string;
  /** What the store knows it by. */
  readonly storedAs: string;
  readonly store: EventStore;
  readonly bounds: EventStreamBounds;
  /** Whose share it counts to what the store does not have. */
  readonly owner: string;
  /** The client knows events without data (2025-11-25). */
  readonly primed: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Longest that the store may take for one event, in ms. */
export const STORE_TIMEOUT_MS = 5_000;
/** Longest that it may take to hand over what a client missed, in ms. */
const REPLAY_TIMEOUT_MS = 30_000;
/** How often a store that takes no end of a call is tried again: other replicas wait for that end. */
const END_PAUSES = { initialMs: 1_000, maxMs: 30_000, jitterRatio: 0.5 };
const END_TRIES = 20;
/** What an event takes beside its frame until the store has it. */
const STEP_BYTES = 1_024;

/**
 * A stream whose events a store keeps. One thing at a time: an event is stored before it is sent, and a client that comes back
 * gets what the store has before anything new. What the store does not take is sent all the same, and an answer waits here for
 * its client.
 */
export class StoredStream implements SessionStream {
  readonly id: string;
  readonly #options: StoredStreamOptions;
  #last: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #stream: EventStream | undefined;
  #ended = false;
  /** Of those that came back the newest is served. */
  #resumes = 0;
  /** Answers that the store did not take. */
  #unstored: Frame[] = [];
  /** Whether the store has events, so that a client may read on at another replica, and whether it has an answer. */
  #begun = false;
  #answered = false;
  #sent = false;
  /** The event of the answer: who has that one has the answer. */
  #answerEvent: string | undefined;
  /** No client comes back for what the store does not take, nor is the store asked again. */
  readonly #forgotten = new AbortController();

  constructor(options: StoredStreamOptions) {
    this.id = options.id;
    this.#options = options;
  }

  get open(): boolean {
    return this.#stream !== undefined;
  }

  get ended(): boolean {
    return this.#ended;
  }

  attach(response: ServerResponse, headers?: Readonly<Record<string, string>>): void {
    this.#stream?.replaced();
    this.#stream = undefined;
    // Its 'close' has been.
    if (response.destroyed) return;
    this.#stream = new EventStream(response, this.#options.bounds, headers, (closed) => {
      if (this.#stream === closed) this.#stream = undefined;
    });
  }

  prime(): void {
    if (!this.#options.primed) return;
    this.#next(async () => {
      const id = await this.#store({});
      if (id !== undefined) this.#stream?.prime(id, RETRY_MS);
    });
  }

  /** The client is back and has everything up to that event. */
  resume(response: ServerResponse, eventId: string, headers: Readonly<Record<string, string>>): void {
    const resumes = ++this.#resumes;
    const over = (): boolean => response.destroyed || resumes !== this.#resumes;
    this.#next(async () => {
      if (response.destroyed) return;
      this.attach(response, headers);
      const stream = this.#stream;
      let told = false;
      const write = (id: string, text: string): void => {
        if (over()) throw OVER;
        if (isMark(text)) return;
        told ||= id === this.#answerEvent;
        const frame = new Frame(text);
        // It is in the store: a client that reads comes back for it.
        const { held } = this.#options.bounds;
        if (held.hasRoomFor(this.#options.owner, frame.length)) stream?.send(frame, id);
        else held.cuts.cut(response, 'no_room', NO_ROOM);
      };
      const { store, owner } = this.#options;
      const replay = (): Promise<void> => replayTexts(store, eventId, this.#bounds('replay', REPLAY_TIMEOUT_MS), write);
      await replaying(owner, over, () => this.#tried('replay', replay));
      if (over()) return;
      for (const frame of this.#unstored.splice(0)) {
        told = true;
        stream?.send(frame);
        frame.release(this.#options.bounds.held);
      }
      if (!this.#ended || stream === undefined) return;
      const place = streamPlaceOf(this.id);
      // The store had the answer, and has it no more, or is away.
      if (place !== undefined && this.#sent && !told && eventId !== this.#answerEvent)
        tellLost(stream, { place, logger: this.#options.logger }, 'its answer is not to be had from the event store');
      stream.end();
    });
  }

  offer(message: string | Frame): boolean {
    const frame = typeof message === 'string' ? new Frame(message) : message;
    const { bounds, owner } = this.#options;
    const { held, maxStreamBufferBytes } = bounds;
    const bytes = frame.heldBytes + STEP_BYTES;
    if (this.#ended || this.#waitingBytes > maxStreamBufferBytes || !held.hasRoomForNotice(owner, bytes)) return false;
    if (!held.takeFor(owner, STEP_BYTES)) return false;
    if (!frame.hold(held, owner)) {
      held.giveBackFor(owner, STEP_BYTES);
      return false;
    }
    this.#waitingBytes += bytes;
    this.#next(async () => {
      const id = await this.#stored(frame);
      this.#waitingBytes -= bytes;
      held.giveBackFor(owner, STEP_BYTES);
      frame.release(held);
      this.#stream?.offer(frame, id);
    });
    return this.open;
  }

  /** What takes too long to read is not stored. */
  async #stored(frame: Frame): Promise<string | undefined> {
    if (frame.length > MAX_READ_BYTES) return undefined;
    const { store, storedAs } = this.#options;
    return inTurnOrNow(async () => {
      const { json } = frame;
      if (store.storeText !== undefined) return this.#kept(async () => store.storeText?.(storedAs, json));
      return costsMore(json, MAX_UNASKED_COST) ? undefined : this.#store(JSON.parse(json));
    });
  }

  send(json: JsonBody): void {
    const frame = new Frame(json);
    this.#next(async () => {
      const { bounds, owner } = this.#options;
      this.#sent = true;
      const id = await this.#stored(frame);
      this.#answered ||= id !== undefined;
      this.#answerEvent = id;
      const reached = this.#stream !== undefined;
      this.#stream?.send(frame, id);
      const waits = id === undefined && !reached && !this.#forgotten.signal.aborted;
      if (waits && frame.hold(bounds.held, owner)) this.#unstored.push(frame);
    });
  }

  heartbeat(): void {
    this.#stream?.heartbeat();
  }

  end(): void {
    this.#ended = true;
    this.#next(async () => {
      this.#stream?.end();
      if (this.#begun && !this.#answered && streamPlaceOf(this.id)?.own === false) void this.#tellEnd();
    });
  }

  /** Puts an answer that the store did not take there now, or that there is none: until it takes one of them. Never rejects. */
  async #tellEnd(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#forgotten;
    for (let tries = 1; !(await this.#storedEnd()) && tries < END_TRIES && !signal.aborted; tries++) {
      await sleep(clock, backoffMs(tries, END_PAUSES), { signal, ref: false }).catch(() => undefined);
    }
  }

  #storedEnd(): Promise<boolean> {
    const tried = async (): Promise<void> => {
      for (const frame of [...this.#unstored]) {
        const id = await this.#stored(frame);
        if (id === undefined) continue;
        this.#answered = true;
        this.#answerEvent = id;
        if (!this.#unstored.includes(frame)) continue;
        this.#unstored = this.#unstored.filter((each) => each !== frame);
        frame.release(this.#options.bounds.held);
      }
      this.#answered ||= (await this.#store(this.#sent ? UNSTORED : ENDED)) !== undefined;
    };
    this.#next(tried);
    return this.#last.then(() => this.#answered);
  }

  cut(): void {
    this.#stream?.end();
    this.#stream = undefined;
  }

  /** It is not resumed any more. */
  forget(): void {
    this.#forgotten.abort();
    for (const frame of this.#unstored.splice(0)) frame.release(this.#options.bounds.held);
  }

  #next(step: () => Promise<void>): void {
    this.#last = this.#last.then(step).catch((error: unknown) => {
      this.#options.logger.error({ error }, 'a stream of events failed');
    });
  }

  #store(message: unknown): Promise<string | undefined> {
    const { store, storedAs } = this.#options;
    return this.#kept(async () => store.storeEvent(storedAs, message));
  }

  /** The id of its event, if the store gives it one. */
  async #kept(ask: () => Promise<string | undefined>): Promise<string | undefined> {
    const bounds = this.#bounds('store an event', STORE_TIMEOUT_MS);
    const id = await this.#tried('store an event', () => within(ask(), bounds));
    if (typeof id !== 'string' || !EVENT_ID.test(id)) return undefined;
    this.#begun = true;
    return id;
  }

  #bounds(what: string, timeoutMs: number): WaitBounds {
    return {
      clock: this.#options.clock,
      timeoutMs,
      late: () => new RequestTimeoutError('event store', what, timeoutMs),
    };
  }

  /** Never rejects. */
  async #tried<T>(what: string, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask();
    } catch (error) {
      if (error !== OVER) this.#options.logger.warn({ error: messageOf(error) }, `the event store did not ${what}`);
      return undefined;
    }
  }
}
