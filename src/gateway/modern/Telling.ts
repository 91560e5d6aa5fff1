import type { ServerNotice } from '../../connection/protocol/messages.js';
import { inTurn, inTurnOrNow, isTurnSpent } from '../../core/time/turns.js';
import type { EventStream, EventStreamBounds } from '../http/stream/EventStream.js';
import type { EventFrame } from '../http/stream/Frame.js';
import type { Labels } from './Labels.js';

export interface TellingOptions {
  /** Whose share it is what waits. */
  readonly origin: string;
  readonly idText: string;
  readonly labels: Labels;
  readonly bounds: EventStreamBounds;
  readonly onDrop: () => void;
}

/** What a message takes beside its frame while it waits. */
const WAITING_BYTES = 128;

/**
 * What one subscription is told, in order: nothing before its stream is there, and what is large as it fits into the turns of the event loop, since it may
 * be for very many. What waits counts as held.
 */
export class Telling {
  readonly #options: TellingOptions;
  #stream: EventStream | undefined;
  #waiting: EventFrame[] = [];
  #bytes = 0;
  #flushing = false;
  #over = false;

  constructor(options: TellingOptions) {
    this.#options = options;
  }

  readonly tell = (notice: ServerNotice): void => {
    if (this.#over) return;
    const { idText, labels, onDrop } = this.#options;
    const frame = labels.put(notice, idText);
    const stream = this.#waiting.length > 0 ? undefined : this.#stream;
    if (stream !== undefined && frame.latin1 !== undefined) this.#offer(stream, frame);
    else if (stream !== undefined && !isTurnSpent()) void inTurnOrNow(() => this.#offer(stream, frame));
    else if (this.#wait(frame)) void this.#flush();
    else onDrop();
  };

  /** The stream is there, and the subscription acknowledged. */
  begin(stream: EventStream): void {
    this.#stream = stream;
    void this.#flush();
  }

  /** Resolves when nothing waits any more. */
  async told(): Promise<void> {
    while (this.#waiting.length > 0) await inTurn(() => undefined);
  }

  /** Gives back what waits. */
  close(): void {
    this.#over = true;
    while (this.#waiting.length > 0) this.#next();
  }

  #wait(frame: EventFrame): boolean {
    const { origin, bounds } = this.#options;
    const { held, maxStreamBufferBytes } = bounds;
    const own = WAITING_BYTES + frame.ownBytes;
    const bytes = own + frame.heldBytes;
    if (this.#bytes > 0 && this.#bytes + bytes > maxStreamBufferBytes) return false;
    if (!held.hasRoomForNotice(origin, bytes) || !held.takeFor(origin, own)) return false;
    if (!frame.hold(held, origin)) {
      held.giveBackFor(origin, own);
      return false;
    }
    this.#bytes += bytes;
    this.#waiting.push(frame);
    return true;
  }

  async #flush(): Promise<void> {
    const stream = this.#stream;
    if (this.#flushing || stream === undefined) return;
    this.#flushing = true;
    const step = (): void => {
      const frame = this.#next();
      if (frame !== undefined && !this.#over) this.#offer(stream, frame);
    };
    while (this.#waiting.length > 0) await inTurnOrNow(step);
    this.#flushing = false;
  }

  /** The oldest, which waits no longer. */
  #next(): EventFrame | undefined {
    const { origin, bounds } = this.#options;
    const frame = this.#waiting.shift();
    if (frame === undefined) return undefined;
    const own = WAITING_BYTES + frame.ownBytes;
    this.#bytes -= own + frame.heldBytes;
    frame.release(bounds.held);
    bounds.held.giveBackFor(origin, own);
    return frame;
  }

  #offer(stream: EventStream, frame: EventFrame): void {
    if (!stream.offer(frame)) this.#options.onDrop();
  }
}
