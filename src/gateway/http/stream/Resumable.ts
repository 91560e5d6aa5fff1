import type { ServerResponse } from 'node:http';
import type { Kept as KeptBytes, KeptPlace } from '../HeldBytes.js';
import type { JsonBody } from '../respond.js';
import { EventStream, type EventStreamBounds } from './EventStream.js';
import { Frame } from './Frame.js';
import { RETRY_MS, type SessionStream } from './SessionStream.js';

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

/** Of what a client may have missed, so much is kept beside the newest message, in bytes. */
const MAX_KEPT_BYTES = 256 * 1_024;

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
  #seq = 0;
  #stream: EventStream | undefined;
  #ended = false;
  /** Where what is kept stands among what gives way, from the first time that it may. */
  #place: KeptPlace | undefined;
  #forgotten = false;

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

  /** The client is back and has everything up to `seq`. */
  resume(response: ServerResponse, seq: number, headers: Readonly<Record<string, string>>): void {
    this.attach(response, headers);
    if (this.open && this.#place !== undefined) this.spare();
    // What is sent takes room, for which this may give way.
    for (const kept of [...this.#kept]) if (kept.seq > seq) this.#stream?.offer(kept.frame, `${this.id}_${kept.seq}`);
    if (this.#ended) this.#stream?.end();
  }

  /** A message that may be lost: false when it reached no connection. It is kept all the same. */
  offer(message: string | Frame): boolean {
    const frame = typeof message === 'string' ? new Frame(message) : message;
    const seq = this.#keep(frame, frame.length <= MAX_KEPT_BYTES);
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
    const { held } = this.#options.bounds;
    if (this.#kept.length === 0) return;
    if (this.#place === undefined) for (const { frame } of this.#kept) frame.spare(held);
    else held.forget(this.#place);
    this.#place = held.keep(this);
  }

  /** It is not resumed any more. */
  forget(): void {
    this.#forgotten = true;
    this.#clear();
  }

  #clear(): void {
    for (const { frame } of this.#kept.splice(0)) this.#letGo(frame);
    this.#bytes = 0;
    if (this.#place !== undefined) this.#options.bounds.held.forget(this.#place);
    this.#place = undefined;
  }

  #letGo(frame: Frame): void {
    const { held } = this.#options.bounds;
    if (this.#place === undefined) frame.release(held);
    else frame.drop(held);
  }

  #keep(frame: Frame, worth: boolean): number {
    const { bounds, owner } = this.#options;
    const { held } = bounds;
    const seq = ++this.#seq;
    // For a client that has left nothing that is kept gives way.
    if (this.#forgotten || this.#ended || !worth || !frame.hold(held, owner, !this.open)) return seq;
    this.#kept.push({ seq, frame });
    this.#bytes += frame.length;
    if (this.#place !== undefined) frame.spare(held);
    else if (!this.open) this.spare();
    // The newest stays, however large: it is the answer then.
    while (this.#bytes > MAX_KEPT_BYTES && this.#kept.length > 1) {
      const oldest = this.#kept.shift();
      if (oldest === undefined) break;
      this.#bytes -= oldest.frame.length;
      this.#letGo(oldest.frame);
    }
    return seq;
  }
}

/** The stream and the place in it that an event's id names; undefined for what is no id of ours. */
export function placeOf(eventId: string): { readonly stream: string; readonly seq: number } | undefined {
  const hit = /^([a-z0-9.]{1,100})_(\d{1,15})$/.exec(eventId);
  return hit === null ? undefined : { stream: hit[1] as string, seq: Number(hit[2]) };
}
