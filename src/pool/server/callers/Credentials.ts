import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../core/clock.js';
import { thrown } from '../../../core/errors/thrown.js';
import type { Caller } from '../../McpPool.js';

/** What a server needs to act for a principal. */
export interface CredentialSet {
  /** Added to every HTTP request to the server's origin. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Added to the environment of a process started for the principal. */
  readonly env?: Readonly<Record<string, string>>;
  /** Epoch ms from which they are asked for anew; never when undefined. */
  readonly expiresAt?: number;
}

export type CredentialsHook = (request: {
  readonly server: string;
  readonly caller: Caller | undefined;
  readonly signal: AbortSignal;
  /** `start`: a connection is being made. `401`: the server refused what it had. */
  readonly reason: 'start' | '401';
}) => Promise<CredentialSet | undefined>;

/** Ahead of their expiry they are asked for anew by this much, so that they do not expire on the way. */
const EARLY_MS = 5_000;

/** The most principals whose credentials are kept; the least recently used are asked for again. */
const MAX_PRINCIPALS = 10_000;

interface Asked {
  /** For whom. */
  readonly caller: Caller | undefined;
  readonly answer: Promise<CredentialSet | undefined>;
  /** Epoch ms; known once answered. */
  expiresAt: number;
}

/** The credentials of one server's callers: asked once at a time per principal, kept until they expire. */
export class Credentials {
  readonly #server: string;
  readonly #hook: CredentialsHook | undefined;
  readonly #clock: Clock;
  /** Made with the first question: its table is large, and most servers have no hook. */
  #table: LRUCache<string, Asked> | undefined;
  /** The newest caller of each principal that has a context. */
  #newest: LRUCache<string, Caller> | undefined;

  constructor(server: string, hook: CredentialsHook | undefined, clock: Clock) {
    this.#server = server;
    this.#hook = hook;
    this.#clock = clock;
  }

  /**
   * A call of that caller is made: its context is the newest of its principal, for what is asked while no call waits. Connections
   * outlive the tokens they were opened with.
   */
  note(caller: Caller | undefined): void {
    if (this.#hook === undefined || caller?.context === undefined) return;
    this.#newest ??= new LRUCache({ max: MAX_PRINCIPALS });
    this.#newest.set(caller.principal ?? '', caller);
  }

  /** Those of the caller's principal. Concurrent callers share one question; a failed one is not kept. */
  get(caller: Caller | undefined, signal: AbortSignal): Promise<CredentialSet | undefined> {
    const known = this.#table?.get(caller?.principal ?? '');
    if (known !== undefined && known.expiresAt - EARLY_MS > this.#clock.wallNow()) return known.answer;
    return this.#ask(this.newest(caller), signal, 'start');
  }

  /** The newest caller of that one's principal. */
  newest(caller: Caller | undefined): Caller | undefined {
    return this.#newest?.get(caller?.principal ?? '') ?? caller;
  }

  /**
   * The server refused `stale` in a request of `caller`: asks anew with that caller's context. A question that was asked
   * meanwhile serves for it too, but a question with another context that brought nothing new does not. `again`: it is
   * the second refusal of that request, which stands if `stale` was asked for with its own context.
   */
  async renew(
    caller: Caller | undefined,
    stale: CredentialSet | undefined,
    signal: AbortSignal,
    again: boolean,
  ): Promise<CredentialSet | undefined> {
    const principal = caller?.principal ?? '';
    for (let last: Asked | undefined, first = !again; ; first = false) {
      const known = this.#table?.get(principal);
      if (known === undefined || known === last) return this.#ask(caller, signal, '401');
      if (!first && known.caller?.context === caller?.context) return known.answer;
      const set = await known.answer.catch(() => stale);
      if (set !== stale) return set;
      last = known;
    }
  }

  #ask(caller: Caller | undefined, signal: AbortSignal, reason: 'start' | '401'): Promise<CredentialSet | undefined> {
    const hook = this.#hook;
    if (hook === undefined) return Promise.resolve(undefined);
    const principal = caller?.principal ?? '';
    const request = { server: this.#server, caller, signal, reason };
    const asked: Asked = {
      caller,
      answer: new Promise<CredentialSet | undefined>((resolve) => resolve(hook(request))).catch((error: unknown) => {
        throw thrown(error);
      }),
      expiresAt: Number.POSITIVE_INFINITY,
    };
    this.#table ??= new LRUCache({ max: MAX_PRINCIPALS });
    const table = this.#table;
    table.set(principal, asked);
    asked.answer.then(
      (set) => {
        asked.expiresAt = set?.expiresAt ?? Number.POSITIVE_INFINITY;
      },
      () => {
        if (table.peek(principal) === asked) table.delete(principal);
      },
    );
    return asked.answer;
  }
}
