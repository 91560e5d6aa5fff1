import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../../core/clock.js';

/** How the bytes of one direction pass, until told otherwise. */
export interface FlowShape {
  /** How late they come, in ms. @defaultValue 0 */
  readonly lateMs?: number;
  /** @defaultValue Infinity */
  readonly bytesPerSec?: number;
  /** Most bytes of one write. @defaultValue Infinity */
  readonly pieceBytes?: number;
  /** Between two pieces, in ms. @defaultValue 0 */
  readonly pieceEveryMs?: number;
}

interface Piece {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

/** So much is held back before the sender is told to wait. */
const HIGH_BYTES = 256 * 1_024;
/** A rate is kept by pieces of a twentieth of a second. */
const RATE_STEPS = 20;

/** One direction of a TCP connection: bytes in their order, each as late and as small as its shape says. */
export class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #clock: Clock;
  #shape: FlowShape = {};
  #waiting: Piece[] = [];
  #waitingBytes = 0;
  #lastDueMs = 0;
  #timer: Timer | undefined;
  /** What the end of the sender comes to; undefined: it has not ended. */
  #ending: { readonly afterMs: number; readonly destroy: boolean } | undefined;
  #closed = false;

  constructor(from: Socket, to: Socket, clock: Clock) {
    this.#from = from;
    this.#to = to;
    this.#clock = clock;
    to.on('drain', () => this.#resume());
  }

  /** For the bytes that come from now on; those under way keep theirs. */
  shape(shape: FlowShape): void {
    this.#shape = shape;
  }

  push(chunk: Buffer): void {
    const { lateMs = 0, bytesPerSec, pieceBytes = Number.POSITIVE_INFINITY, pieceEveryMs } = this.#shape;
    const perStep = bytesPerSec === undefined ? pieceBytes : Math.max(1, Math.ceil(bytesPerSec / RATE_STEPS));
    const size = Math.min(perStep, pieceBytes);
    const arrivedMs = this.#clock.now() + lateMs;
    for (let at = 0; at < chunk.length; at += size) {
      const bytes = chunk.subarray(at, at + size);
      const paceMs =
        bytesPerSec === undefined ? (at === 0 ? 0 : (pieceEveryMs ?? 0)) : (bytes.length / bytesPerSec) * 1_000;
      this.#lastDueMs = Math.max(arrivedMs, this.#lastDueMs + paceMs);
      this.#waiting.push({ bytes, dueMs: this.#lastDueMs });
    }
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > HIGH_BYTES) this.#from.pause();
    this.#pass();
  }

  /** The sender has ended: once its bytes have passed, and so many ms, the other side hears of it, or is closed whole. */
  end({ afterMs = 0, destroy = false }: { readonly afterMs?: number; readonly destroy?: boolean } = {}): void {
    this.#ending = { afterMs, destroy };
    this.#pass();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#waiting = [];
  }

  #pass(): void {
    if (this.#closed || this.#timer !== undefined) return;
    const nowMs = this.#clock.now();
    const next = this.#waiting[0];
    if (next !== undefined && next.dueMs <= nowMs) {
      this.#waiting.shift();
      this.#waitingBytes -= next.bytes.length;
      this.#to.write(next.bytes);
      this.#resume();
    }
    const { dueMs } = this.#waiting[0] ?? {};
    // In a turn of its own: two writes of one turn leave as one.
    if (dueMs !== undefined) this.#later(dueMs - nowMs);
    else if (this.#ending !== undefined) {
      const { afterMs, destroy } = this.#ending;
      this.#ending = afterMs === 0 ? undefined : { afterMs: 0, destroy };
      if (afterMs > 0) this.#later(afterMs);
      else if (destroy) this.#to.destroySoon();
      else this.#to.end();
    }
  }

  #later(ms: number): void {
    this.#timer = this.#clock.setTimer(
      () => {
        this.#timer = undefined;
        this.#pass();
      },
      ms,
      { ref: true },
    );
  }

  #resume(): void {
    if (!this.#closed && this.#waitingBytes <= HIGH_BYTES && !this.#to.writableNeedDrain) this.#from.resume();
  }
}
