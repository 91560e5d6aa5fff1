import type { ServerResponse } from 'node:http';
import { FairRoom } from '../../concurrent/FairRoom.js';
import { META_SUBSCRIPTION_ID } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { ClosedError, messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inTurn, inTurnOrNow } from '../../core/time/turns.js';
import { within } from '../../core/time/within.js';
import { sharedAbort } from '../../core/wait/sharedAbort.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import { sendError as refuse } from '../http/holdAnswer.js';
import { EventStream, type EventStreamBounds } from '../http/stream/EventStream.js';
import { idTextOf, type Params } from '../rpc/envelope.js';
import { type Failure, failureOf, Refusal } from '../rpc/failure.js';
import { MAX_LABEL_LENGTH, MAX_URI_LENGTH } from '../rpc/limits.js';
import { CALL_BYTES } from '../rpc/readMessages.js';
import { addressOrigin, originOf } from '../session/origin.js';
import type { SubscriptionRoom } from '../session/SessionSubscriptions.js';
import type { Admission } from '../users/Admission.js';
import { scopeStatus } from '../users/scopes/ScopeRules.js';
import type { ModernRequest } from './checkRequest.js';
import { Labels } from './Labels.js';
import type { ListenFilter, Listening } from './Listening.js';
import type { ModernClients } from './ModernClients.js';
import { Telling } from './Telling.js';

export interface ListensOptions {
  readonly clients: ModernClients;
  readonly bounds: EventStreamBounds;
  readonly maxOpen: number;
  /** For the URIs of all. */
  readonly room: SubscriptionRoom;
  readonly admission: Admission | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly onDrop: () => void;
}

/** URIs of one subscription. */
const MAX_URIS = 1_000;
/** Those with more are opened one after another: clients take turns, and one that has left by then costs nothing. */
const FEW_URIS = 32;
/** A server that is slow holds up the next of them for so long, in ms. */
const OPENING_MS = 250;

const KINDS: readonly (keyof ListenFilter)[] = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'];

/** Open `subscriptions/listen` requests (2026-07-28, subscriptions): one stream each, acknowledged first. */
export class Listens {
  readonly #options: ListensOptions;
  /** Oldest first. */
  readonly #places = new Set<Place>();
  readonly #labels = new Labels();
  readonly #opening = new FairRoom({ max: 1 });

  constructor(options: ListensOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#places.size;
  }

  /** Holds the response open until the client closes it or the server ends the subscription. Never rejects. */
  open(endpoint: Endpoint, request: ModernRequest, response: ServerResponse): Promise<void> | void {
    // A copy: a part of the body's text would keep all of it.
    const idText = Buffer.from(idTextOf(request)).toString();
    const filter = idText.length > MAX_LABEL_LENGTH ? LONG_ID : filterOf(request.params['notifications']);
    if (typeof filter === 'string') {
      const failure = { code: RPC_CODES.invalidParams, message: filter };
      return refuse(response, idText, 200, failure, this.#options.bounds);
    }
    return this.#hold(endpoint, { idText, filter }, response);
  }

  async #hold(endpoint: Endpoint, wanted: Wanted, response: ServerResponse): Promise<void> {
    const { bounds, maxOpen, room, admission, logger, onDrop } = this.#options;
    const { idText } = wanted;
    const gone = sharedAbort();
    const address = addressOrigin(response.req.socket?.remoteAddress);
    const place: Place = {
      origin: originOf(endpoint, address),
      end: (reason) => {
        place.stream?.end();
        // A client that reads nothing keeps its response from closing.
        leave(reason);
      },
    };
    // In turns: thousands may end at one instant.
    const leave = (reason: Error): void => void inTurnOrNow(() => gone.abort(reason));
    if (this.#places.size >= maxOpen && !this.#makeRoom(place.origin)) {
      return refuse(response, idText, 200, full(maxOpen).failure, bounds);
    }
    const heldBytes = CALL_BYTES + 2 * idText.length;
    if (!bounds.held.takeFor(place.origin, heldBytes)) return refuse(response, idText, 200, TOO_MUCH, bounds);
    try {
      room.take(place.origin, urisOf(wanted));
    } catch (error) {
      bounds.held.giveBackFor(place.origin, heldBytes);
      return refuse(response, idText, 200, failureOf(error, logger), bounds);
    }
    this.#places.add(place);
    const telling = new Telling({ origin: place.origin, idText, labels: this.#labels, bounds, onDrop });
    response.once('close', () => leave(LEFT));
    if (endpoint.anyone.caller !== undefined) admission?.follow(response, endpoint.anyone.caller);
    try {
      const client = endpoint.anyone ?? this.#options.clients.anyone;
      const options = { signal: gone.signal, onNotification: telling.tell, address };
      const begin = () => endpoint.listen(client, wanted.filter, options);
      const many = urisOf(wanted).length > FEW_URIS;
      const listening = await (many ? this.#inTurn(place.origin, gone.signal, begin) : begin());
      if (response.destroyed) return await listening.close();
      // What is not agreed on holds nothing.
      const told = new Set(listening.filter.resourceSubscriptions);
      room.giveBack(
        place.origin,
        urisOf(wanted).filter((uri) => !told.has(uri)),
      );
      wanted.filter = listening.filter;
      const stream = new EventStream(response, bounds);
      place.stream = stream;
      const method = 'notifications/subscriptions/acknowledged';
      stream.send(this.#labels.put({ method, params: { notifications: listening.filter } }, idText));
      telling.begin(stream);
      await listening.ended;
      await telling.told();
      const result = `{"resultType":"complete","_meta":{"${META_SUBSCRIPTION_ID}":${idText}}}`;
      if (!response.destroyed) stream.send(`{"jsonrpc":"2.0","id":${idText},"result":${result}}`);
      stream.end();
    } catch (error) {
      if (response.destroyed) return logger.debug({ error: messageOf(error) }, 'a subscription ended');
      const failure = failureOf(error, logger);
      const { status = 200, headers } = scopeStatus(error) ?? {};
      if (place.stream === undefined) refuse(response, idText, status, failure, bounds, headers);
      else place.stream.end();
    } finally {
      this.#places.delete(place);
      room.giveBack(place.origin, urisOf(wanted));
      telling.close();
      bounds.held.giveBackFor(place.origin, heldBytes);
    }
  }

  async #inTurn(origin: string, signal: AbortSignal, begin: () => Promise<Listening>): Promise<Listening> {
    const { clock } = this.#options;
    const { opened } = await this.#opening.run({ group: origin }, async () => {
      // In a turn of its own: of many that wait none would let the loop go round.
      const opened = inTurn(() => {
        signal.throwIfAborted();
        return begin();
      });
      await within(opened, { clock, timeoutMs: OPENING_MS }).catch(() => undefined);
      return { opened };
    });
    return opened;
  }

  /**
   * Principals, and addresses where there are none, share the places evenly, as they do those of sessions: one that has fewer than another
   * takes the place of that one's oldest subscription.
   */
  #makeRoom(origin: string): boolean {
    const counts = new Map<string, number>();
    for (const each of this.#places) counts.set(each.origin, (counts.get(each.origin) ?? 0) + 1);
    const [rich, most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0]);
    if (most <= (counts.get(origin) ?? 0) + 1) return false;
    const oldest = [...this.#places].find((each) => each.origin === rich);
    if (oldest === undefined) return false;
    this.#places.delete(oldest);
    oldest.end(full(this.#options.maxOpen));
    return true;
  }

  heartbeat(): void {
    for (const { stream } of this.#places) stream?.heartbeat();
  }

  /** Ends them all: their clients listen anew elsewhere. */
  end(): void {
    const reason = new ClosedError('Gateway');
    for (const place of this.#places) place.end(reason);
  }
}

/** What a request asks for, without the rest of its body. */
interface Wanted {
  readonly idText: string;
  /** What is asked for; then what is agreed on. */
  filter: ListenFilter;
}

const urisOf = ({ filter: { resourceSubscriptions = [] } }: Wanted): readonly string[] => resourceSubscriptions;

/** One subscription, open or on its way to be. */
interface Place {
  /** Where its client connected from. */
  readonly origin: string;
  stream?: EventStream;
  end(reason: Error): void;
}

const TOO_MUCH: Failure = Object.freeze({
  code: RPC_CODES.internalError,
  message: 'too much is held at once: try again',
});

const LONG_ID = `the id of a subscription has ${MAX_LABEL_LENGTH} characters or fewer`;

const full = (max: number): Refusal => new Refusal(RPC_CODES.internalError, `${max} subscriptions are open`);

/** One for all, and none is told: making one costs more than all the rest. */
const LEFT = new Error('the client closed its subscription');

function filterOf(given: unknown): ListenFilter | string {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return 'notifications is an object';
  const wanted = given as Params;
  const uris = wanted['resourceSubscriptions'];
  if (uris !== undefined && (!Array.isArray(uris) || uris.length > MAX_URIS || !uris.every(isUri))) {
    return `resourceSubscriptions is an array of up to ${MAX_URIS} URIs of up to ${MAX_URI_LENGTH} characters`;
  }
  const kinds = KINDS.filter((kind) => wanted[kind] === true).map((kind) => [kind, true]);
  return {
    ...Object.fromEntries(kinds),
    ...(uris === undefined ? {} : { resourceSubscriptions: [...new Set(uris as string[])] }),
  };
}

const isUri = (uri: unknown): boolean => typeof uri === 'string' && uri.length <= MAX_URI_LENGTH;
