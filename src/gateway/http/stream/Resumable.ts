import type { ServerResponse } from 'node:http';
import type { Kept as KeptBytes, KeptPlace } from '../HeldBytes.js';
import type { JsonBody } from '../respond.js';
import { EventStream, type EventStreamBounds } from './EventStream.js';
import { Frame } from './Frame.js';
import { RETRY_MS, type SessionStream } from './SessionStream.js';
import { replaying } from './stored/replaying.js';

export interface ResumableOptions {
  readonly bounds: EventStreamBounds;
  /** Whose share it counts to what is kept while more may come. */
  readonly owner: string;
  /** The client knows events without data: the first tells it where to resume before anything happened (2025-11-25). */
  readonly primed: boolean;
  /** Nothing more will come; its client may still come back for what it missed. */
  readonly onEnd: (stream: Resumable) => void;
  /** It is forgotten: others needed the room, and nothing more will come. */
  readonly onGiveWay: (stream: Resumable) => void;
}

/** Of what a client may have missed, so much is kept beside the newest message, in bytes as held. */
const MAX_KEPT_BYTES = 256 * 1_024;
/** What an event that is kept takes beside its frame, which others may keep, too. */
const ENTRY_BYTES = 64;
/** What a stream takes of which something is kept. */
const STREAM_BYTES = 512;
/** So much, as held, is replayed at once: it takes no longer than a call. */
const AT_ONCE_BYTES = 32 * 1_024;

interface Kept {
  readonly seq: number;
  readonly frame: Frame;
}

/**
 * A stream of events that outlives its connection (2025-11-25, Streamable HTTP, resumability): each event has an id, and what a
 * client may have missed is kept, within the bounds of one stream and of all, so that a GET with `last-event-id` goes on behind
 * what it has. The oldest is forgotten first. Once its client has left, or nothing more will come, all of it gives way to others.
 */
export class Resumable implements SessionStream, KeptBytes {
  readonly id: string;
  readonly #options: ResumableOptions;
  readonly #kept: Kept[] = [];
  #bytes = 0;
  /** What is kept takes so much beside its frames. */
  #ownBytes = 0;
  #seq = 0;
  #stream: EventStream | undefined;
  #ended = false;
  /** Where what is kept stands among what gives way, from the first time that it may. */
  #place: KeptPlace | undefined;
  #forgotten = false;
  /** How often its client came back. */
  #resumes = 0;

  /** `id`: what the session knows it by; its events' ids begin with it. */
  constructor(id: string, options: ResumableOptions) {
    this.id = id;
    this.#options = options;
  }

  /** A connection takes what comes. */
  get open(): boolean {
    return this.#stream !== undefined;
  }

  giveWay(): void {
    this.#clear();
    if (this.#ended) this.#options.onGiveWay(this);
  }

  /** Nothing more will come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The client's connection for it, from here on; an older one ends. */
  attach(response: ServerResponse, headers?: Readonly<Record<string, string>>): void {
    this.#stream?.replaced();
    this.#stream = undefined;
    // Its 'close' has been: the client comes back with another, or not at all.
    if (response.destroyed) {
      if (this.#place === undefined) this.spare();
      return;
    }
    this.#stream = new EventStream(response, this.#options.bounds, headers, (closed) => {
      if (this.#stream !== closed) return;
      this.#stream = undefined;
      if (!this.#ended) this.spare();
    });
  }

  /**
   * Tells where to resume before anything was said: for a stream that is opened early. One that begins with a message needs none,
   * and programs that read events by hand stumble over one without data.
   */
  prime(): void {
    if (this.#options.primed) this.#stream?.prime(`${this.id}_${this.#seq}`, RETRY_MS);
  }

  /**
   * The client is back and has everything up to `seq`. Where that is much, it is sent when its turn comes, with all that came
   * meanwhile: until then the client counts as away. Of those that came back the newest is served. Rejects with what attaching throws.
   */
  resume(response: ServerResponse, seq: number, headers: Readonly<Record<string, string>>): void | Promise<void> {
    const resumes = ++this.#resumes;
    if (response.destroyed || this.#bytesBehind(seq) <= AT_ONCE_BYTES) return this.#replay(response, seq, headers);
    this.#stream?.replaced();
    this.#stream = undefined;
    if (this.#place === undefined) this.spare();
    const over = (): boolean => response.destroyed || resumes !== this.#resumes || this.#forgotten;
    return replaying(this.#options.owner, over, () => this.#replay(response, seq, headers)).then(() => {
      // No more is to come on it.
      if (over() && !response.headersSent) new EventStream(response, this.#options.bounds, headers).end();
    });
  }

  #bytesBehind(seq: number): number {
    let bytes = 0;
    for (const kept of this.#kept) if (kept.seq > seq) bytes += kept.frame.heldBytes;
    return bytes;
  }

  #replay(response: ServerResponse, seq: number, headers: Readonly<Record<string, string>>): void {
    this.attach(response, headers);
    if (this.open && this.#place !== undefined) this.spare();
    // What is sent takes room, for which this may give way.
    for (const kept of [...this.#kept])
      if (kept.seq > seq) this.#stream?.offer(kept.frame, `${this.id}_${kept.seq}`, true);
    if (this.#ended) this.#stream?.end();
  }

  /** A message that may be lost: false when it reached no connection. It is kept all the same. */
  offer(message: string | Frame): boolean {
    const frame = typeof message === 'string' ? new Frame(message) : message;
    const { bounds, owner } = this.#options;
    // What is kept of notices while their client is there is the first to have no room.
    const worth =
      frame.length <= MAX_KEPT_BYTES && (!this.open || bounds.held.hasRoomForNotice(owner, frame.heldBytes, true));
    const seq = this.#keep(frame, worth);
    return this.#stream?.offer(frame, `${this.id}_${seq}`) === true;
  }

  /** A message that may not be lost: an answer. */
  send(json: JsonBody): void {
    const frame = new Frame(json);
    const seq = this.#keep(frame, true);
    this.#stream?.send(frame, `${this.id}_${seq}`);
  }

  heartbeat(): void {
    this.#stream?.heartbeat();
  }

  end(): void {
    this.#ended = true;
    this.#stream?.end();
    // What is large and has gone out is not kept for the rare client that lost it behind the socket.
    if (this.#stream !== undefined && this.#bytes > MAX_KEPT_BYTES) this.forget();
    this.#options.onEnd(this);
  }

  /** Ends its connection alone: the client comes back for the rest. */
  cut(): void {
    this.#stream?.end();
    this.#stream = undefined;
    this.spare();
  }

  /** What is kept gives way from here on when others need the room, behind what does so already. */
  spare(): void {
    const { bounds, owner } = this.#options;
    const { held } = bounds;
    if (this.#kept.length === 0) return;
    if (this.#place === undefined) {
      for (const { frame } of this.#kept) frame.spare(held);
      held.spare(owner, this.#ownBytes);
    } else held.forget(this.#place);
    this.#place = held.keep(this);
  }

  /** It is not resumed any more. */
  forget(): void {
    this.#forgotten = true;
    this.#clear();
  }

  #clear(): void {
    for (const { frame } of this.#kept.splice(0)) this.#letGo(frame);
    this.#giveBack(this.#ownBytes);
    this.#bytes = 0;
    if (this.#place !== undefined) this.#options.bounds.held.forget(this.#place);
    this.#place = undefined;
  }

  #letGo(frame: Frame): void {
    const { held } = this.#options.bounds;
    if (this.#place === undefined) frame.release(held);
    else frame.drop(held);
  }

  /** Of what counts beside the frames. */
  #giveBack(bytes: number): void {
    const { bounds, owner } = this.#options;
    this.#ownBytes -= bytes;
    if (this.#place === undefined) bounds.held.giveBackFor(owner, bytes);
    else bounds.held.dropSpare(bytes);
  }

  #keep(frame: Frame, worth: boolean): number {
    const { bounds, owner } = this.#options;
    const { held } = bounds;
    const seq = ++this.#seq;
    // For a client that has left nothing that is kept gives way.
    if (this.#forgotten || this.#ended || !worth || !frame.hold(held, owner, !this.open)) return seq;
    const own = this.#kept.length > 0 ? ENTRY_BYTES : ENTRY_BYTES + STREAM_BYTES;
    if (!held.takeFor(owner, own, 0, !this.open)) {
      frame.release(held);
      return seq;
    }
    // To make room for either this stream itself may have given way.
    this.#kept.push({ seq, frame });
    this.#bytes += frame.heldBytes + own;
    this.#ownBytes += own;
    if (this.#place !== undefined) {
      frame.spare(held);
      held.spare(owner, own);
    } else if (!this.open) this.spare();
    // The newest stays, however large: it is the answer then.
    while (this.#bytes > MAX_KEPT_BYTES && this.#kept.length > 1) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) break;
      this.#bytes -= oldest.frame.heldBytes + ENTRY_BYTES;
      this.#letGo(oldest.frame);
      this.#giveBack(ENTRY_BYTES);
    }
    return seq;
  }
}

/** The stream and the place in it that an event's id names; undefined for what is no id of ours. */
export function placeOf(eventId: string): { readonly stream: string; readonly seq: number } | undefined {
  const hit = /^([a-z0-9.]{1,100})_(\d{1,15})$/.exec(eventId);
  return hit === null ? undefined : { stream: hit[1] as string, seq: Number(hit[2]) };
}
