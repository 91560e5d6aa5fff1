import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { QueueFullError } from '../../core/errors.js';
import type { Subscription } from '../../pool/McpPool.js';
import { Refusal } from '../rpc/failure.js';

/** What one session subscribed to, once per URI. */
export class SessionSubscriptions {
  readonly #max: number;
  readonly #open = new Map<string, Promise<Subscription>>();
  #ended = false;

  constructor(max: number) {
    this.#max = max;
  }

  async add(uri: string, subscribe: () => Promise<Subscription>): Promise<void> {
    const known = this.#open.get(uri);
    if (known === undefined && this.#open.size >= this.#max) {
      throw new QueueFullError('subscriptions of this session', this.#open.size, this.#max);
    }
    const subscription = known ?? subscribe();
    this.#open.set(uri, subscription);
    try {
      const { ended } = await subscription;
      void ended.then(() => this.#forget(uri, subscription));
    } catch (error) {
      this.#forget(uri, subscription);
      throw error;
    }
    if (this.#ended) await (await subscription).close();
  }

  async remove(uri: string): Promise<void> {
    const subscription = this.#open.get(uri);
    if (subscription === undefined) throw new Refusal(RPC_CODES.invalidParams, `not subscribed to ${uri}`);
    this.#open.delete(uri);
    await (await subscription).close();
  }

  /** Gives all of them back. */
  async close(): Promise<void> {
    this.#ended = true;
    const subscriptions = [...this.#open.values()];
    this.#open.clear();
    await Promise.allSettled(subscriptions.map(async (each) => (await each).close()));
  }

  #forget(uri: string, subscription: Promise<Subscription>): void {
    if (this.#open.get(uri) === subscription) this.#open.delete(uri);
  }
}
