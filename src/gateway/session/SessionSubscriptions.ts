import { Shares } from '../../concurrent/Shares.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import {
  BackingOffError,
  ForbiddenError,
  OptionError,
  QueueFullError,
  RpcError,
  StartError,
  show,
  UnauthorizedError,
} from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { type WaitBounds, within } from '../../core/time/within.js';
import type { ServerNotice, Subscription, SubscriptionFilter } from '../../pool/McpPool.js';
import { isGone, MovingSubscription } from '../../targets/MovingSubscription.js';
import type { Downstream } from '../endpoint/Endpoint.js';
import { Refusal } from '../rpc/failure.js';

/** What a subscription takes, here and in the pool, beside three copies of its URI: 8 kB measured on Node 20. */
const SUBSCRIPTION_BYTES = 8 * 1_024;

/**
 * The room that all subscriptions to URIs have. They are kept for as long as their clients like, with nothing to be read or awaited: so
 * that one client does not take all of it, some is left for those of other origins.
 */
export class SubscriptionRoom {
  readonly #shares: Shares;

  constructor(maxBytes: number) {
    this.#shares = new Shares(maxBytes);
  }

  /** @throws QueueFullError, and nothing is taken, when there is no room for them all. */
  take(origin: string, uris: readonly string[]): void {
    const bytes = bytesOf(uris);
    if (!this.#shares.mayTake(origin, bytes)) {
      throw new QueueFullError('bytes of the subscriptions of all clients', this.#shares.taken, this.#shares.max);
    }
    this.#shares.add(origin, bytes);
  }

  giveBack(origin: string, uris: readonly string[]): void {
    this.#shares.add(origin, -bytesOf(uris));
  }
}

const bytesOf = (uris: readonly string[]): number =>
  uris.reduce((bytes, uri) => bytes + SUBSCRIPTION_BYTES + 3 * uri.length, 0);

export interface SessionSubscriptionsOptions {
  /** Whose share of the room they take. */
  readonly origin: string;
  readonly room: SubscriptionRoom;
  readonly max: number;
}

export interface KeptUpOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tell: (notice: ServerNotice) => void;
}

/**
 * What `open` opens, and opens anew when its server was replaced, as by another config: with what is right for the new one. Over when the
 * server is stopped or removed, or refuses. A client of the legacy era, where nothing says so, is told then that what it follows has changed:
 * it looks at that again, and learns why.
 */
export function keptUp(
  server: string,
  session: Downstream,
  signal: AbortSignal | undefined,
  { clock, logger, tell }: KeptUpOptions,
  open: () => Promise<Subscription>,
): Promise<Subscription> {
  const onOver = (filter: SubscriptionFilter): void => {
    if (session.era === 'legacy') for (const notice of noticesOf(filter)) tell(notice);
  };
  return MovingSubscription.open(open, { server, clock, logger, signal, closing: session.signal, isFinal, onOver });
}

/** Whether only a change to its config, or a sign-in, helps: what a start failed with is told by the pause that follows it, too. */
export function isFinal(error: unknown): boolean {
  if (error instanceof StartError || error instanceof BackingOffError) return isRefusal(error.cause);
  return isGone(error) || isRefusal(error) || error instanceof RpcError;
}

const isRefusal = (error: unknown): boolean =>
  error instanceof UnauthorizedError || error instanceof ForbiddenError || error instanceof OptionError;

/** What a subscriber with that filter may be told. */
function noticesOf({ resourceUris = [], ...lists }: SubscriptionFilter): ServerNotice[] {
  const kinds = Object.entries(lists).filter(([, agreed]) => agreed === true);
  return [
    ...kinds.map(([kind]) => ({ method: `notifications/${kind.replace('ListChanged', '')}/list_changed` })),
    ...resourceUris.map((uri) => ({ method: 'notifications/resources/updated', params: { uri } })),
  ];
}

/**
 * Resolves when a session's subscription at `server` is open. Another request for the same may have been first: each waits as it likes.
 * @throws Refusal, as of a method that is not there, where the server offers no subscriptions
 */
export async function untilOpen(server: string, opened: Promise<void>, options: WaitBounds): Promise<void> {
  try {
    await within(opened, options);
  } catch (error) {
    if (!(error instanceof OptionError) || error.option !== 'filter') throw error;
    throw new Refusal(RPC_CODES.methodNotFound, `server ${show(server)} offers no subscriptions to resources`);
  }
}

/** What one session subscribed to, once per URI. */
export class SessionSubscriptions {
  readonly #options: SessionSubscriptionsOptions;
  readonly #open = new Map<string, Promise<Subscription>>();
  /** Those whose own request was given up before they were open. */
  readonly #givenUp = new WeakSet<Promise<Subscription>>();
  #ended = false;

  constructor(options: SessionSubscriptionsOptions) {
    this.#options = options;
  }

  async add(uri: string, subscribe: () => Promise<Subscription>, signal?: AbortSignal): Promise<void> {
    const known = this.#open.get(uri);
    const { origin, room, max } = this.#options;
    if (known === undefined && this.#open.size >= max) {
      throw new QueueFullError('subscriptions of this session', this.#open.size, max);
    }
    if (known === undefined) room.take(origin, [uri]);
    const subscription = known ?? subscribe();
    this.#open.set(uri, subscription);
    try {
      const { ended } = await subscription;
      // Once for all who ask for it again: each would be kept for as long as it lasts.
      if (known === undefined) void ended.then(() => this.#forget(uri, subscription));
    } catch (error) {
      this.#forget(uri, subscription);
      if (known === undefined && signal?.aborted === true) this.#givenUp.add(subscription);
      if (known !== undefined && this.#givenUp.has(known)) return this.add(uri, subscribe, signal);
      throw error;
    }
    if (this.#ended) await (await subscription).close();
  }

  async remove(uri: string): Promise<void> {
    const subscription = this.#open.get(uri);
    if (subscription === undefined) throw new Refusal(RPC_CODES.invalidParams, `not subscribed to ${uri}`);
    this.#forget(uri, subscription);
    await (await subscription).close();
  }

  /** Gives all of them back, in turns of the event loop: thousands of sessions may end at one instant. */
  async close(): Promise<void> {
    this.#ended = true;
    const closing = [...this.#open].map(async ([uri, each]) => {
      const subscription = await each;
      await inTurnOrNow(() => {
        this.#forget(uri, each);
        return subscription.close();
      });
    });
    await Promise.allSettled(closing);
  }

  #forget(uri: string, subscription: Promise<Subscription>): void {
    if (this.#open.get(uri) !== subscription) return;
    this.#open.delete(uri);
    this.#options.room.giveBack(this.#options.origin, [uri]);
  }
}
