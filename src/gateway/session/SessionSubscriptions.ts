import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { QueueFullError } from '../../core/errors.js';
import type { Subscription } from '../../pool/McpPool.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { Refusal } from '../rpc/failure.js';

/** What a subscription takes beside its URI, of which there are some copies: 20 kB measured with 8,190 characters on Node 20. */
const ENTRY_BYTES = 2_048;
const COPIES = 3;

/** What one session subscribed to, once per URI. It counts as held for as long as it lasts. */
export class SessionSubscriptions {
  readonly #max: number;
  readonly #held: HeldBytes;
  readonly #open = new Map<string, Promise<Subscription>>();
  #ended = false;

  constructor(max: number, held: HeldBytes) {
    this.#max = max;
    this.#held = held;
  }

  async add(uri: string, subscribe: () => Promise<Subscription>): Promise<void> {
    const known = this.#open.get(uri);
    if (known === undefined) this.#admit(uri);
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
    this.#forget(uri, subscription);
    await (await subscription).close();
  }

  /** Gives all of them back. */
  async close(): Promise<void> {
    this.#ended = true;
    const subscriptions = [...this.#open.values()];
    for (const [uri, subscription] of this.#open) this.#forget(uri, subscription);
    await Promise.allSettled(subscriptions.map(async (each) => (await each).close()));
  }

  #admit(uri: string): void {
    if (this.#open.size >= this.#max) {
      throw new QueueFullError('subscriptions of this session', this.#open.size, this.#max);
    }
    if (!this.#held.take(bytesOf(uri))) {
      throw new Refusal(RPC_CODES.internalError, 'too much is held at once: try again');
    }
  }

  #forget(uri: string, subscription: Promise<Subscription>): void {
    if (this.#open.get(uri) !== subscription) return;
    this.#open.delete(uri);
    this.#held.giveBack(bytesOf(uri));
  }
}

const bytesOf = (uri: string): number => ENTRY_BYTES + COPIES * uri.length;
