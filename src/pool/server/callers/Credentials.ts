import { LRUCache } from 'lru-cache';
import { type CredentialSet, checkCredentials } from '../../../connection/checkCredentials.js';
import type { Clock } from '../../../core/clock.js';
import { thrown } from '../../../core/errors/thrown.js';
import { within } from '../../../core/time/within.js';
import type { SingleServerConfig } from '../../../registry/config/ServerConfig.js';
import type { Caller } from '../../McpPool.js';

/** What a server's credentials are asked for with. */
export interface CredentialsRequest {
  readonly server: string;
  /** What the server was added with; of one with several targets, the target's own. */
  readonly config: SingleServerConfig;
  /** Whose they are to be; undefined for callers of no principal. */
  readonly caller: Caller | undefined;
  readonly signal: AbortSignal;
  /** `start`: a connection is being made. `renewal`: those of a live one expire soon. `401`: the server refused what it had. */
  readonly reason: 'start' | 'renewal' | '401';
  /** What the server said with its 401: the header `WWW-Authenticate`. */
  readonly challenge?: string;
}

export interface CredentialsHook {
  (request: CredentialsRequest): Promise<CredentialSet | undefined>;
  /** Resolves when nothing that it has begun goes on: the close of a pool waits for it, within its grace. */
  readonly settled?: () => Promise<void>;
}

/** How long it may take: then the next who needs an answer asks anew, in ms. */
const HOOK_MS = 30_000;

/** Ahead of their expiry they are asked for anew by this much, so that they do not expire on the way. */
const EARLY_MS = 5_000;

/** The most principals whose credentials are kept; the least recently used are asked for again. */
const MAX_PRINCIPALS = 10_000;

interface Asked {
  /** For whom. */
  readonly caller: Caller | undefined;
  readonly answer: Promise<CredentialSet | undefined>;
  /** What was answered; undefined before. */
  set: CredentialSet | undefined;
  /** Epoch ms; known once answered. */
  expiresAt: number;
}

/** The credentials of one server's callers: asked once at a time per principal, kept until they expire. */
export class Credentials {
  readonly #config: SingleServerConfig;
  readonly #hook: CredentialsHook | undefined;
  readonly #clock: Clock;
  /** Made with the first question: its table is large, and most servers have no hook. */
  #table: LRUCache<string, Asked> | undefined;
  /** The newest caller of each principal that has a context. */
  #newest: LRUCache<string, Caller> | undefined;
  /** Renewals ahead of time, by principal: what they replace is good until they are through. */
  readonly #renewing = new Map<string, Asked>();

  constructor(config: SingleServerConfig, hook: CredentialsHook | undefined, clock: Clock) {
    this.#config = config;
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
    const renewing = this.#renewing.get(caller?.principal ?? '');
    if (renewing !== undefined) return renewing.answer;
    return this.#ask(this.newest(caller), signal, 'start');
  }

  /** The newest caller of that one's principal. */
  newest(caller: Caller | undefined): Caller | undefined {
    return this.#newest?.get(caller?.principal ?? '') ?? caller;
  }

  /** `stale` expires soon on a live connection of the caller's principal: one question for all of its connections. */
  renewAhead(
    caller: Caller | undefined,
    stale: CredentialSet | undefined,
    signal: AbortSignal,
  ): Promise<CredentialSet | undefined> {
    const principal = caller?.principal ?? '';
    const renewing = this.#renewing.get(principal);
    if (renewing !== undefined) return renewing.answer;
    const known = this.#table?.get(principal);
    // Another of its connections has renewed them, or has been refused and asks.
    if (known !== undefined && known.set !== stale) return known.answer;
    const asked = this.#question(this.newest(caller), signal, 'renewal');
    this.#renewing.set(principal, asked);
    const over = (): void => void this.#renewing.delete(principal);
    asked.answer.then((set) => {
      over();
      if (set !== undefined && this.#table?.peek(principal) === known) this.#table?.set(principal, asked);
    }, over);
    return asked.answer;
  }

  /**
   * The server refused `stale` in a request of `caller`: asks anew with that caller's context. A question that was asked
   * meanwhile serves for it too, but a question with another context that brought nothing new does not. `again`: it is
   * the second refusal of that request, which stands if `stale` was asked for with its own context. `challenge`: what the refusal said.
   */
  async renew(
    caller: Caller | undefined,
    stale: CredentialSet | undefined,
    signal: AbortSignal,
    again: boolean,
    challenge?: string,
  ): Promise<CredentialSet | undefined> {
    const principal = caller?.principal ?? '';
    const ahead = await this.#renewing.get(principal)?.answer.catch(() => stale);
    if (ahead !== undefined && ahead !== stale) return ahead;
    for (let last: Asked | undefined, first = !again; ; first = false) {
      const known = this.#table?.get(principal);
      if (known === undefined || known === last) return this.#ask(caller, signal, '401', challenge);
      if (!first && known.caller?.context === caller?.context) return known.answer;
      const set = await known.answer.catch(() => stale);
      if (set !== undefined && set !== stale) return set;
      last = known;
    }
  }

  #ask(
    caller: Caller | undefined,
    signal: AbortSignal,
    reason: 'start' | '401',
    challenge?: string,
  ): Promise<CredentialSet | undefined> {
    if (this.#hook === undefined) return Promise.resolve(undefined);
    const principal = caller?.principal ?? '';
    const asked = this.#question(caller, signal, reason, challenge);
    this.#table ??= new LRUCache({ max: MAX_PRINCIPALS });
    const table = this.#table;
    table.set(principal, asked);
    asked.answer.catch(() => {
      if (table.peek(principal) === asked) table.delete(principal);
    });
    return asked.answer;
  }

  #question(
    caller: Caller | undefined,
    signal: AbortSignal,
    reason: CredentialsRequest['reason'],
    challenge?: string,
  ): Asked {
    const request = {
      server: this.#config.name,
      config: this.#config,
      caller,
      signal,
      reason,
      ...(challenge !== undefined && { challenge }),
    };
    const late = (): Error => new Error(`the credentials hook has not answered within ${HOOK_MS} ms`);
    const ask = async (): Promise<CredentialSet | undefined> => this.#hook?.(request);
    const asked: Asked = {
      caller,
      answer: within(ask(), { clock: this.#clock, timeoutMs: HOOK_MS, late, signal }).then(
        (given) => {
          const set = checkCredentials(given);
          asked.set = set;
          asked.expiresAt = set?.expiresAt ?? Number.POSITIVE_INFINITY;
          return set;
        },
        (error: unknown) => {
          throw thrown(error);
        },
      ),
      set: undefined,
      expiresAt: Number.POSITIVE_INFINITY,
    };
    return asked;
  }
}
