import type { ServerResponse } from 'node:http';
import { membersOf } from '../../../../connection/channel/codec/members.js';
import { type Clock, systemClock } from '../../../../core/clock.js';
import { OutcomeUnknownError } from '../../../../core/errors.js';
import type { Logger } from '../../../../core/logger.js';
import { sleep } from '../../../../core/time/sleep.js';
import { failureOf, failureText } from '../../../rpc/failure.js';
import { ownerOf } from '../../../session/origin.js';
import { EventStream, type EventStreamBounds } from '../EventStream.js';
import { Frame } from '../Frame.js';
import type { StreamPlace } from '../streamIds.js';
import { isMark, isUnstored } from './replaying.js';

/** How often a store is asked for what came meanwhile, in ms. */
const POLL_MS = 500;
/** Polls between two heartbeats. */
const POLLS_A_HEARTBEAT = 40;

export interface Followed {
  readonly place: StreamPlace;
  readonly response: ServerResponse;
  readonly headers: Readonly<Record<string, string>>;
  readonly bounds: EventStreamBounds;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Whether the process that runs the call is there. */
  readonly isAlive: (replica: string) => Promise<boolean>;
  /** Hands over what the store has more than last time, as JSON. Never rejects. */
  readonly replay: (write: (id: string, text: string) => void) => Promise<void>;
}

/**
 * The stream of a call that runs in another process, as a store has it: until its answer or its end came, or, when that process has gone,
 * until its client was told that no one knows. Never rejects.
 */
export async function followStream(followed: Followed): Promise<void> {
  const { response, headers, bounds, place, clock = systemClock, isAlive, replay, signal } = followed;
  const stream = new EventStream(response, bounds, headers);
  const left = new AbortController();
  response.once('close', () => left.abort());
  // It may have gone before we came here.
  if (response.destroyed) left.abort();
  const ended = AbortSignal.any([left.signal, signal]);
  /** Or ended without an answer. */
  let answered = false;
  let gone = false;
  let unstored = false;
  for (let polls = 1; !ended.aborted; polls++) {
    await replay((id, text) => {
      if (isMark(text)) {
        answered = true;
        unstored = isUnstored(text);
        return;
      }
      const frame = new Frame(text);
      // It is in the store: a client that reads comes back for it.
      if (!bounds.held.hasRoomFor(ownerOf(response), frame.length)) {
        response.destroy();
        return;
      }
      stream.send(frame, id);
      answered ||= isAnswer(text);
    });
    if (answered || gone) break;
    gone = !(await isAlive(place.replica));
    if (polls % POLLS_A_HEARTBEAT === 0) stream.heartbeat();
    // What it wrote last is read once more.
    if (!gone) await sleep(clock, POLL_MS, { signal: ended }).catch(() => undefined);
  }
  if (unstored) tellLost(stream, followed, 'its answer is not in the event store');
  else if (!answered && gone) tellLost(stream, followed);
  stream.end();
}

/** Says in place of an answer that there will be none. */
export function tellLost(
  stream: EventStream,
  { place, logger }: Pick<Followed, 'place' | 'logger'>,
  why = 'the process that ran it has gone, or is another one',
): void {
  if (place.callId === undefined) return;
  const error = new OutcomeUnknownError('gateway', 'the call', why);
  stream.send(new Frame(`{"jsonrpc":"2.0","id":${place.callId},"error":${failureText(failureOf(error, logger))}}`));
}

function isAnswer(text: string): boolean {
  return membersOf(text)?.some(({ key }) => key === 'result' || key === 'error') === true;
}
