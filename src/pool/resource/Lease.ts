import { Entry } from './LiveSet.js';

/** Who lent a lease and takes it back. */
export interface Lender<R> {
  giveBack(lease: Lease<R>, entry: Entry<R>, id: number): void;
  /** From now on the lease must be found when leases are revoked, until it is forgotten. */
  know(lease: Lease<R>, id: number): void;
  forget(id: number): void;
  /** Set when every lease that is out was revoked. */
  readonly revokedWith: Error | undefined;
}

/** What few leases need: made when one does. */
interface Rare {
  /** Made where it was asked for. */
  trace?: Error;
  controller?: AbortController;
  revokedWith?: Error;
  /** The function of `use` that holds it. */
  user?: { readonly name: string; readonly fail: (error: unknown) => void };
  reported?: true;
}

/**
 * A slot of one resource, held until `release()`, which is idempotent; `using lease = …` releases at the end of the
 * block. One kept past the deadline of the pool's close is revoked: its `signal` aborts and the resource is destroyed.
 */
export class Lease<R> implements Disposable {
  /** What was asked for. Use it until `release()`, or until `signal` aborts. */
  readonly resource: R;
  static {
    // A promise that is resolved with an object looks for its `then`: found here, it need not look further up.
    Object.defineProperty(Lease.prototype, 'then', { value: undefined });
  }

  /**
   * @internal Never lent. With no lease alive at a full collection the engine forgets their hidden class, and with it
   * all code it has optimised for them: thousands of acquires after it would cost three times as much.
   */
  static readonly kept: unknown = new Lease(new Entry<unknown>(undefined, 0, 0), 0, {} as Lender<unknown>);

  readonly #lender: Lender<R>;
  /** Its number in the ledger. */
  readonly #id: number;
  /** Undefined once given back. */
  #entry: Entry<R> | undefined;
  #rare: Rare | undefined = undefined;

  /** @internal */
  constructor(entry: Entry<R>, id: number, lender: Lender<R>) {
    this.resource = entry.resource;
    this.#lender = lender;
    this.#id = id;
    this.#entry = entry;
  }

  /** Gives the slot back, straight to the oldest waiter if there is one. Again is a no-op. */
  release(): void {
    const entry = this.#entry;
    if (entry === undefined) return;
    this.#entry = undefined;
    if (this.#rare !== undefined) this.#lender.forget(this.#id);
    this.#lender.giveBack(this, entry, this.#id);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** True once the pool took it back by itself. */
  get revoked(): boolean {
    return this.#revokedWith !== undefined;
  }

  /** Aborts when the lease is revoked; never after a release. */
  get signal(): AbortSignal {
    const rare = this.#need();
    rare.controller ??= new AbortController();
    if (this.revoked) rare.controller.abort(this.#revokedWith);
    return rare.controller.signal;
  }

  /** @internal The stack that took it, when leases are traced. */
  get stack(): string | undefined {
    return this.#rare?.trace?.stack;
  }

  /** @internal */
  trace(at: Error): void {
    this.#need().trace = at;
  }

  /** @internal Names the function that holds it, and how it is failed when it is abandoned. */
  heldBy(name: string, fail: (error: unknown) => void): void {
    this.#need().user = { name, fail };
  }

  /** @internal True the first time. */
  reportLeak(): boolean {
    const rare = this.#need();
    if (rare.reported) return false;
    rare.reported = true;
    return true;
  }

  /** @internal Takes it away from who holds it; gives the function of `use` that held it, if one did. */
  revoke(reason: Error): Rare['user'] {
    const rare = this.#need();
    this.#entry = undefined;
    rare.revokedWith = reason;
    rare.controller?.abort(reason);
    return rare.user;
  }

  get #revokedWith(): Error | undefined {
    return this.#rare?.revokedWith ?? (this.#entry === undefined ? undefined : this.#lender.revokedWith);
  }

  #need(): Rare {
    if (this.#rare === undefined) {
      this.#rare = {};
      if (this.#entry !== undefined) this.#lender.know(this, this.#id);
    }
    return this.#rare;
  }
}
