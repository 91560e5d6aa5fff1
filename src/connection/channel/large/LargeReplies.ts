import type { Call, CallTable } from '../Call.js';
import type { CallTimes } from '../CallTimes.js';
import type { ChannelCounters, ChannelOptions } from '../ChannelOptions.js';
import type { ReplyScan } from '../codec/ReplyScan.js';
import type { Unread } from '../unread/Unread.js';
import { type Flow, LargeReply, type LargeReplyHost } from './LargeReply.js';
import { TakenResult } from './ResultSink.js';

/** The channel that they come on. */
export interface LargeRepliesChannel {
  readonly counters: ChannelCounters;
  /** Settles a call as answered; its promise is settled right after. */
  answered(call: Call): void;
  failCall(call: Call, error: unknown): void;
  readonly unread: Pick<Unread, 'moreGarbage'>;
}

const OPEN_BRACE = 0x7b;

/** Of what came in parts. */
function byteAt(parts: readonly Buffer[], place: number): number | undefined {
  let at = place;
  for (const part of parts) {
    if (at < part.length) return part[at];
    at -= part.length;
  }
  return undefined;
}

/** The large replies of one channel: found out while they come, and taken in pieces where their calls can do so. */
export class LargeReplies {
  readonly #calls: CallTable;
  readonly #host: LargeReplyHost;

  constructor(
    channel: LargeRepliesChannel,
    { server, maxMessageBytes, clock }: Pick<ChannelOptions, 'server' | 'maxMessageBytes' | 'clock'>,
    calls: CallTable,
    times: CallTimes,
  ) {
    this.#calls = calls;
    this.#host = {
      server,
      maxMessageBytes,
      onPart: (call) => times.anew(call, clock.now()),
      onFull: (call) => times.still(call),
      onTaken: (call, bytes, isError) => {
        const { meter } = call.options;
        if (meter !== undefined) meter.receivedBytes = bytes;
        channel.answered(call);
        call.resolve(new TakenResult(isError));
      },
      onLate: (call) => {
        channel.counters.lateReplies++;
        calls.answeredLate(call.id);
      },
      onBroken: (call, error) => channel.failCall(call, error),
      onGarbage: (bytes) => channel.unread.moreGarbage(bytes),
    };
  }

  /**
   * A message of which `scan` has read `parts` goes on: takes it, and what follows, when it is the reply to a call that has a sink, with an object as its result. `call`: whose
   * it is, where it came on that one's stream; else its id says so. Where the id comes behind the result, it is taken for that of the only call
   * whose answer is owed, and for no one's when there are others, also such as were given up: docs/decisions/251-large-answers-in-pieces.md.
   */
  begin(parts: readonly Buffer[], scan: ReplyScan, flow: Flow, own?: Call): LargeReply | undefined {
    const { begun } = scan;
    if (begun === undefined || begun.end !== undefined || byteAt(parts, begun.start) !== OPEN_BRACE) return undefined;
    const call = own ?? (begun.id === undefined ? this.#calls.onlyOwed() : this.#calls.sent(begun.id));
    if (call?.phase !== 'sent' || (begun.id !== undefined && begun.id !== call.id)) return undefined;
    let reply: LargeReply | undefined;
    const sink = call.options.raw === true ? call.options.onLarge?.(() => reply?.onRoom()) : undefined;
    if (sink === undefined) return undefined;
    reply = new LargeReply(call, scan, begun.start, sink, this.#host, flow, own === undefined);
    reply.begin(parts);
    return reply;
  }
}
