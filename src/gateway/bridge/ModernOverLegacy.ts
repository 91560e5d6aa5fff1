import { memoryOf } from '../../connection/channel/codec/memoryOf.js';
import { LIST_CHANGES } from '../../connection/protocol/messages.js';
import { META_LOG_LEVEL } from '../../connection/protocol/metaKeys.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { RpcError } from '../../core/errors.js';
import { AbortHub } from '../../core/wait/AbortHub.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { levelOf } from '../rpc/levels.js';
import { memoryOfValues } from '../rpc/light.js';
import { Flight } from './Flight.js';
import { type Crowding, GivingWay } from './GivingWay.js';
import { changed, WITHOUT_ENVELOPE } from './paramsFor.js';
import { modernResult } from './resultText.js';

/** Calls that wait for their clients' answers. */
const MAX_WAITING = 1_000;
/** How often a client may come back with other arguments: each time all of them are parsed and compared. */
const MAX_OTHERS = 3;
/** A client that has not come back after this long does not any more. */
const ANSWER_WAIT_MS = 10 * 60_000;

/** One call of a modern client on a server of the legacy era. */
export interface ModernCall {
  readonly server: string;
  readonly method: string;
  readonly params: Params | undefined;
  readonly call: CallOptions;
  /** Whose share what is held of it counts to. */
  readonly owner: string;
  /** Sends it up on a connection whose requests reach `onRequest`, and ends what was made for it alone. */
  readonly send: (params: Params | undefined, call: CallOptions) => Promise<unknown>;
}

interface Waiting {
  readonly flight: Flight;
  readonly server: string;
  readonly owner: string;
  /** Whether it has its slot upstream still. */
  isRunning: boolean;
  readonly timer: { cancel(): void };
}

/**
 * Calls of modern clients on servers of the legacy era: what a server asks is told as `input_required`, while its call waits
 * upstream until the client comes back with the answers, under an id that cannot be guessed. A server that goes on without them, or
 * ends, has its answer or its error kept for that client.
 */
export class ModernOverLegacy {
  readonly #aborts = new AbortHub();
  readonly #clock: Clock;
  readonly #held: HeldBytes;
  readonly #waiting = new Map<string, Waiting>();
  readonly #room: GivingWay<Waiting>;

  /** `crowding`: whether callers of a server wait, and for what its calls have taken. */
  constructor(clock: Clock, held: HeldBytes, crowding: (server: string) => Crowding | undefined) {
    this.#clock = clock;
    this.#held = held;
    this.#room = new GivingWay(clock, this.#waiting, crowding, ({ flight }) =>
      this.#giveUp(flight, new Error('its client is away, and others need its place')),
    );
  }

  async request(given: ModernCall): Promise<unknown> {
    const { server, method, params, call, owner } = given;
    const client = call.client ?? { capabilities: {} };
    const name = params?.['name'] ?? params?.['uri'];
    // What is no text may be nested beyond what can be written.
    const what = JSON.stringify([server, method, typeof name === 'string' ? name : null]);
    const state = params?.['requestState'];
    const changing = state === undefined ? changed(params, call, WITHOUT_ENVELOPE) : undefined;
    const own = changing instanceof Promise ? await changing : changing;
    const flight =
      own === undefined
        ? this.#resume(state, what, params)
        : new Flight(server, what, client, owner, this.#held, own.params);
    const { signal } = call;
    flight.current = call;
    if (signal?.aborted === true) flight.onAbort(signal.reason);
    const watched = signal && this.#aborts.join(signal, flight);
    try {
      if (own !== undefined) {
        flight.start(
          (onRequest) =>
            given.send(own.params, {
              paramsText: own.paramsText,
              onRequest,
              signal: flight.control,
              address: call.address,
              ...relayed(flight, params),
            }),
          () => this.#ended(flight),
        );
      } else flight.answer(params?.['inputResponses']);
      const round = await flight.round();
      if ('result' in round) return modernResult(method, round.result);
      this.#keep(flight, server, 2 * (call.paramsText?.length ?? 0) + memoryOfValues(flight.given));
      return round.needed;
    } catch (error) {
      throw method === 'resources/read' ? asModern(error, params) : error;
    } finally {
      watched?.leave(flight);
      flight.current = undefined;
      if (flight.ended !== undefined && !this.#waiting.has(flight.state)) this.#over(flight);
    }
  }

  /** Gives up all that wait. */
  close(reason: unknown): void {
    this.#room.close();
    for (const { flight } of [...this.#waiting.values()]) this.#giveUp(flight, reason);
  }

  #resume(state: unknown, what: string, params: Params | undefined): Flight {
    const waiting = typeof state === 'string' ? this.#waiting.get(state) : undefined;
    if (waiting === undefined || waiting.flight.what !== what) {
      throw new Refusal(RPC_CODES.invalidParams, 'requestState is not one of this call, or its call is over');
    }
    // The call runs with those that it was begun with, and what looked at this round saw others.
    if (!areSame(params?.['arguments'], waiting.flight.given?.['arguments'])) {
      if (++waiting.flight.others === MAX_OTHERS) {
        this.#giveUp(waiting.flight, new Error('its client came back with other arguments'));
      }
      throw new Refusal(RPC_CODES.invalidParams, 'the arguments are not those that the call was begun with');
    }
    this.#forget(waiting.flight.state);
    return waiting.flight;
  }

  /** What its first request brought stays with the call: so many `bytes` count as held until it is over. */
  #keep(flight: Flight, server: string, bytes: number): void {
    const { owner } = flight;
    if (this.#waiting.size >= MAX_WAITING) this.#room.makeRoom(() => 1, 1);
    if (flight.heldBytes === 0 && !this.#hold(owner, bytes)) {
      // Its tool has begun: no one may call it again as if it had not.
      const full = new RpcError(server, RPC_CODES.internalError, 'there is no room for calls that wait for input');
      flight.control.abort(full);
      throw full;
    }
    if (flight.heldBytes === 0) flight.heldBytes = bytes;
    const timer = this.#clock.setTimer(
      () => this.#giveUp(flight, new Error(`the client did not answer within ${ANSWER_WAIT_MS} ms`)),
      ANSWER_WAIT_MS,
    );
    const waiting = { flight, server, owner, timer, isRunning: true };
    this.#waiting.set(flight.state, waiting);
    // It may have ended since it was asked last.
    this.#ended(flight);
    this.#room.watch();
  }

  /** Its server has answered, failed or gone: where its client is away, that is kept for it, and counts as held. */
  #ended(flight: Flight): void {
    const waiting = this.#waiting.get(flight.state);
    if (waiting === undefined || flight.ended === undefined) return;
    waiting.isRunning = false;
    const bytes = bytesOf(flight.ended.with);
    if (this.#held.takeFor(flight.owner, bytes)) flight.heldBytes += bytes;
    else {
      const message = `the answer of ${bytes} bytes is lost: too much waits for clients that do not read`;
      flight.lose(new RpcError(waiting.server, RPC_CODES.internalError, message));
    }
  }

  #giveUp(flight: Flight, reason: unknown): void {
    this.#over(flight);
    flight.control.abort(reason);
  }

  /** Whether so many bytes of that owner's count as held now. Who has more makes room. */
  #hold(owner: string, bytes: number): boolean {
    let own = bytes;
    for (const each of this.#waiting.values()) if (each.owner === owner) own += each.flight.heldBytes;
    while (!this.#held.takeFor(owner, bytes)) {
      // Where there is room for all, it is this owner that has its share: no other's call ends for it.
      if (this.#held.hasRoom(bytes) || !this.#room.makeRoom(({ flight }) => flight.heldBytes, own)) return false;
    }
    return true;
  }

  #over(flight: Flight): void {
    this.#forget(flight.state);
    this.#held.giveBackFor(flight.owner, flight.heldBytes);
    flight.heldBytes = 0;
  }

  #forget(state: string): void {
    this.#waiting.get(state)?.timer.cancel();
    this.#waiting.delete(state);
  }
}

/** What an answer, or an error, takes in memory while it is kept, about. */
function bytesOf(ended: unknown): number {
  if (ended instanceof Uint8Array) return ended.byteLength;
  return memoryOf(ended instanceof RpcError ? [ended.message, ended.data, ended.dataText] : ended);
}

/** Whether two values of JSON are the same, in a time like that of parsing them; what is nested too deeply to be compared is not. */
function areSame(a: unknown, b: unknown): boolean {
  try {
    return equals(a, b);
  } catch {
    return false;
  }
}

function equals(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b);
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let at = 0; at < a.length; at++) if (!equals(a[at], b[at])) return false;
    return true;
  }
  const keys = Object.keys(a);
  if (Array.isArray(b) || keys.length !== Object.keys(b).length) return false;
  for (const key of keys) if (!Object.hasOwn(b, key) || !equals((a as Params)[key], (b as Params)[key])) return false;
  return true;
}

/** Whatever comes on the way to the answer goes to the request that waits for it then. */
function relayed(flight: Flight, params: Params | undefined): CallOptions {
  const level = levelOf((params?.['_meta'] as Params | undefined)?.[META_LOG_LEVEL]);
  return {
    onNotification: (notice) => {
      // They come on subscriptions alone (2026-07-28), and a connection for one call has new lists each time.
      if (LIST_CHANGES.has(notice.method)) return;
      // Only a request that names a level is told anything of that kind (2026-07-28, logging).
      const tooLow = level < 0 || levelOf(notice.params?.['level']) < level;
      if (notice.method === 'notifications/message' && tooLow) return;
      flight.current?.onNotification?.(notice);
    },
    ...(flight.current?.onProgress && { onProgress: (progress) => flight.current?.onProgress?.(progress) }),
  };
}

/** That a resource is not there has a code of its own in the legacy era alone. */
function asModern(error: unknown, params: Params | undefined): unknown {
  if (!(error instanceof RpcError) || error.rpcCode !== RPC_CODES.resourceNotFound) return error;
  const data = error.data ?? { uri: params?.['uri'] };
  return new RpcError(error.server, RPC_CODES.invalidParams, error.message, data);
}
