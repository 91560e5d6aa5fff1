import { Shares } from '../../concurrent/Shares.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { OptionError, QueueFullError, RpcError, show } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { type WaitBounds, within } from '../../core/time/within.js';
import type { Subscription } from '../../pool/McpPool.js';
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

/**
 * What `open` opens, and opens anew when its server was replaced, as by another config: with what is right for the new one. Over when the
 * server is stopped or removed, or refuses.
 */
export function keptUp(
  server: string,
  session: Downstream,
  signal: AbortSignal | undefined,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  open: () => Promise<Subscription>,
): Promise<Subscription> {
  const isFinal = (error: unknown): boolean =>
    isGone(error) || error instanceof RpcError || error instanceof OptionError;
  return MovingSubscription.open(open, { server, clock, logger, signal, closing: session.signal, isFinal });
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
