import { OptionError } from '../../core/errors.js';
import type { HistoryEvent, MessageEvent } from '../history/HistoryEvent.js';
import { isAnswer, isRequest, type RpcMessage, type RpcRequest } from '../wire/messages.js';

/** A message of the server's that is no answer; one that asks has the client's reply. */
export interface Step {
  readonly message: RpcMessage;
  reply?: RpcMessage;
}

/** One request of the client's in a recording, with all that came of it. */
export interface Exchange {
  /** The connection it came on. */
  readonly wire: string;
  readonly request: RpcRequest;
  /** Where it stands in the recording, and where its answer does. */
  readonly place: number;
  answerPlace: number;
  /** What the server sent about it before its answer, in order. */
  readonly steps: Step[];
  /** What it sent after that, while no call was open. */
  readonly after: RpcMessage[];
  /** Absent: it was never answered. */
  answer?: RpcMessage;
  /** The client gave it up after so many ms. */
  cancelledAfterMs?: number;
}

interface Open {
  readonly exchange: Exchange;
  readonly sentMs: number;
}

/**
 * The exchanges of a recording in the order of their requests. What the server says belongs to the call it names, else to
 * the newest that is open, else to the last one there was. @throws OptionError when there is none
 */
export function exchangesOf(events: readonly HistoryEvent[]): Exchange[] {
  const all: Exchange[] = [];
  const wires = new Map<string, Wire>();
  events.forEach((event, place) => {
    if (event.type !== 'message') return;
    const wire = wires.get(event.wire) ?? new Wire(event.wire);
    wires.set(event.wire, wire);
    const begun = event.from === 'client' ? wire.fromClient(event, place) : wire.fromServer(event, place);
    if (begun !== undefined) all.push(begun);
  });
  if (all.length === 0) throw new OptionError('recording', `${events.length} events`, "events of type 'message'");
  return all;
}

class Wire {
  readonly #name: string;
  readonly #open = new Map<unknown, Open>();
  /** Of the open ones, by the token that their progress names. */
  readonly #byToken = new Map<unknown, Exchange>();
  /** Those that were begun, the oldest first; the last one is open, or goes when it is looked for. */
  readonly #begun: Exchange[] = [];
  readonly #asked = new Map<unknown, Step>();
  /** What came before the first request. */
  readonly #early: Step[] = [];
  #last: Exchange | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  fromClient({ message, atMs }: MessageEvent, place: number): Exchange | undefined {
    const given: RpcMessage = message;
    if (isRequest(given)) {
      const steps = this.#early.splice(0);
      const exchange: Exchange = { wire: this.#name, request: given, place, answerPlace: Infinity, steps, after: [] };
      this.#open.set(given.id, { exchange, sentMs: atMs });
      this.#byToken.set(tokenOf(given), exchange);
      this.#begun.push(exchange);
      this.#last = exchange;
      return exchange;
    }
    if (isAnswer(given)) {
      const step = this.#asked.get(given.id);
      if (step !== undefined) step.reply = given;
      this.#asked.delete(given.id);
    } else if (given.method === 'notifications/cancelled') {
      const open = this.#open.get(given.params?.['requestId']);
      if (open !== undefined) open.exchange.cancelledAfterMs = atMs - open.sentMs;
    }
    return undefined;
  }

  fromServer({ message }: MessageEvent, place: number): undefined {
    const given: RpcMessage = message;
    if (isAnswer(given)) {
      const open = this.#open.get(given.id);
      if (open === undefined) return;
      this.#open.delete(given.id);
      open.exchange.answer = given;
      open.exchange.answerPlace = place;
      return;
    }
    // What a server says in place of a method may be anything.
    if (typeof given.method !== 'string') return;
    const step: Step = { message: given };
    if (isRequest(given)) this.#asked.set(given.id, step);
    const owner = this.#ownerOf(given);
    if (owner !== undefined) owner.steps.push(step);
    else if (this.#last === undefined) this.#early.push(step);
    // A request cannot come behind the answer of a call that is over: it waits for the next one.
    else if (isRequest(given)) this.#early.push(step);
    else this.#last.after.push(given);
  }

  #ownerOf({ method, params }: RpcMessage): Exchange | undefined {
    const named = method === 'notifications/progress' ? this.#byToken.get(params?.['progressToken']) : undefined;
    if (named !== undefined && this.#isOpen(named)) return named;
    for (let newest = this.#begun.at(-1); newest !== undefined; newest = this.#begun.at(-1)) {
      if (this.#isOpen(newest)) return newest;
      this.#begun.pop();
    }
    return undefined;
  }

  #isOpen(exchange: Exchange): boolean {
    return this.#open.get(exchange.request.id)?.exchange === exchange;
  }
}

/** Under which the server reports the progress of a request. */
export function tokenOf({ params }: RpcMessage): unknown {
  return (params?.['_meta'] as Readonly<Record<string, unknown>> | undefined)?.['progressToken'];
}
