import type { Clock, Timer } from '../../core/clock.js';
import { Unsettled } from '../../core/close/Unsettled.js';
import { messageOf, SignInError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { lent, orAbandoned, within } from '../../core/time/within.js';
import { keyOf, type OAuthServer } from '../OAuthServer.js';
import { checkGrant, type StoredGrant, type TokenStore } from './TokenStore.js';

export interface GrantsOptions {
  readonly store: TokenStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Has the authorization server forget a grant that was signed out of. Never rejects. */
  readonly revoke: (server: OAuthServer, grant: StoredGrant) => Promise<unknown>;
}

/** A renewed grant that is not stored yet. */
interface Unsaved {
  readonly server: OAuthServer;
  readonly principal: string | undefined;
  /** What is stored in its place; its refresh token is spent. */
  readonly spent: StoredGrant;
  readonly grant: StoredGrant;
  tries: number;
  timer?: Timer;
}

/** The longest that a change of a grant waits for those of other processes, in ms. */
const CHANGE_MS = 5_000;
/** Between the first tries to store what could not be stored; doubled each time, up to the last, in ms. */
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/** The grants of a store, by server and principal. What belongs to another of either is never handed out. */
export class Grants {
  readonly #store: Pick<TokenStore, 'get' | 'set' | 'delete'>;
  readonly #exclusive: TokenStore['exclusive'];
  readonly #options: GrantsOptions;
  /** By key. */
  readonly #unsaved = new Map<string, Unsaved>();
  /** The newest change of a grant that is under way or waits, by key. */
  readonly #changes = new Map<string, Promise<unknown>>();
  /** What a close waits for. */
  readonly #going = new Unsettled();

  constructor(options: GrantsOptions) {
    const { store, clock } = options;
    this.#store = lent('the store of tokens', store, ['get', 'set', 'delete'], { clock });
    this.#exclusive = store.exclusive?.bind(store);
    this.#options = options;
  }

  /** @throws SignInError when the store cannot be read, or has what is not this one's */
  async get(server: OAuthServer, principal: string | undefined): Promise<StoredGrant | undefined> {
    const kept = this.#unsaved.get(keyOf(server, principal));
    const stored = await this.#stored(server, principal);
    if (kept === undefined || same(stored, kept.grant)) return stored;
    if (same(stored, kept.spent)) return kept.grant;
    this.#drop(kept, stored);
    return stored;
  }

  /** @throws SignInError */
  async set(server: OAuthServer, principal: string | undefined, grant: StoredGrant): Promise<void> {
    const key = keyOf(server, principal);
    try {
      await this.#change(key, () => this.#store.set(key, grant));
    } catch (error) {
      throw new SignInError(server.name, `the token could not be stored: ${messageOf(error)}`, error);
    }
  }

  /**
   * Puts a renewed grant in the place of the one whose refresh token it cost, unless something else stands there by now: a sign-out, or a
   * new sign-in. Gives what stands then. What cannot be stored is kept here, and stored as soon as that can be done.
   */
  async replace(
    server: OAuthServer,
    principal: string | undefined,
    spent: StoredGrant,
    grant: StoredGrant,
  ): Promise<StoredGrant | undefined> {
    const key = keyOf(server, principal);
    const last = this.#unsaved.get(key);
    last?.timer?.cancel();
    const stored = last !== undefined && same(last.grant, spent) ? last.spent : spent;
    const unsaved: Unsaved = { server, principal, spent: stored, grant, tries: 0 };
    this.#unsaved.set(key, unsaved);
    return this.#save(unsaved);
  }

  /** Removes a grant, or whatever is there. Gives what else was there. @throws SignInError */
  async delete(
    server: OAuthServer,
    principal: string | undefined,
    only?: StoredGrant,
  ): Promise<StoredGrant | undefined> {
    const key = keyOf(server, principal);
    try {
      return await this.#change(key, async () => {
        const other = only === undefined ? undefined : await this.get(server, principal);
        if (other === undefined || same(other, only)) await this.#store.delete(key);
        return same(other, only) ? undefined : other;
      });
    } catch (error) {
      throw new SignInError(server.name, `the token could not be removed: ${messageOf(error)}`, error);
    }
  }

  /** Runs `work` while no other process does for the same grant, where the store can tell. @throws SignInError, and what `work` does */
  async exclusive<T>(
    server: OAuthServer,
    principal: string | undefined,
    work: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { clock } = this.#options;
    const exclusive = this.#exclusive;
    let own: { readonly error: unknown } | undefined;
    let over = (): void => undefined;
    const watched = (): Promise<T> => {
      // It goes on without those who wait for it, and so does the lock.
      this.#going.add(
        new Promise<void>((resolve) => {
          over = resolve;
        }),
      );
      return work().catch((error: unknown) => {
        own = { error };
        throw error;
      });
    };
    const run = async (): Promise<T> => {
      try {
        return await (exclusive === undefined ? watched() : exclusive(keyOf(server, principal), watched, signal));
      } finally {
        over();
      }
    };
    try {
      return await within(run(), { clock, signal });
    } catch (error) {
      if (own !== undefined) throw own.error;
      signal.throwIfAborted();
      throw new SignInError(server.name, `the store of tokens failed: ${messageOf(error)}`, error);
    }
  }

  /** Stores what could not be stored, if that can be done now; resolves when nothing is under way. */
  settled(): Promise<void> {
    for (const each of this.#unsaved.values()) this.#again(each);
    return this.#going.over();
  }

  async #stored(server: OAuthServer, principal: string | undefined): Promise<StoredGrant | undefined> {
    try {
      const given = await this.#store.get(keyOf(server, principal));
      if (given === undefined) return undefined;
      const grant = checkGrant(given);
      if (grant.server === server.url && grant.principal === principal) return grant;
    } catch (error) {
      throw new SignInError(server.name, `the store of tokens failed: ${messageOf(error)}`, error);
    }
    throw new SignInError(server.name, 'the store of tokens gave a grant of another server or principal');
  }

  async #save(unsaved: Unsaved): Promise<StoredGrant | undefined> {
    const { server, principal, spent, grant } = unsaved;
    const { clock, logger } = this.#options;
    const key = keyOf(server, principal);
    try {
      return await this.#change(key, async () => {
        const stored = await this.#stored(server, principal);
        if (same(stored, spent)) await this.#store.set(key, grant);
        else if (!same(stored, grant)) {
          this.#drop(unsaved, stored);
          return stored;
        }
        if (this.#unsaved.get(key) === unsaved) this.#unsaved.delete(key);
        if (unsaved.tries > 0) logger.info({ server: server.name }, 'the renewed token is stored now');
        return grant;
      });
    } catch (error) {
      if (this.#unsaved.get(key) !== unsaved) return grant;
      const text = 'a renewed token could not be stored: it is used, and stored when that can be done';
      if (unsaved.tries === 0) logger.warn({ server: server.name, error: messageOf(error) }, text);
      const pauseMs = Math.min(RETRY_MS * 2 ** unsaved.tries++, MAX_RETRY_MS);
      unsaved.timer?.cancel();
      unsaved.timer = clock.setTimer(() => this.#again(unsaved), pauseMs, { ref: false });
      return grant;
    }
  }

  #again(unsaved: Unsaved): void {
    unsaved.timer?.cancel();
    this.#going.add(this.#save(unsaved));
  }

  /** It came too late: what was stored after the renewal had begun stays. */
  #drop(unsaved: Unsaved, stored: StoredGrant | undefined): void {
    const { server, principal, grant } = unsaved;
    const key = keyOf(server, principal);
    if (this.#unsaved.get(key) !== unsaved) return;
    this.#unsaved.delete(key);
    unsaved.timer?.cancel();
    // Not after a new sign-in: an authorization server may end all that a person has with a client.
    if (stored === undefined) this.#going.add(this.#options.revoke(server, grant));
  }

  /** One after the other, in this process, and across those that share the store where that can be had. */
  async #change<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(key);
    const change = (async () => {
      await before?.catch(() => undefined);
      return this.#locked(`${key}.change`, work);
    })();
    this.#changes.set(key, change);
    try {
      return await change;
    } finally {
      if (this.#changes.get(key) === change) this.#changes.delete(key);
    }
  }

  /** Without the lock where it is not to be had, as on a full disk: a sign-out must not fail for it. */
  async #locked<T>(key: string, work: () => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    let begun: Promise<T> | undefined;
    const once = (): Promise<T> => {
      begun ??= work();
      return begun;
    };
    const exclusive = this.#exclusive;
    if (exclusive === undefined) return once();
    const late = (): Error => new Error('the lock of a grant was not to be had');
    const bounds = { clock, timeoutMs: CHANGE_MS, late };
    await orAbandoned(bounds, (signal) => exclusive(key, once, signal)).catch(() => undefined);
    return once();
  }
}

const same = (a: StoredGrant | undefined, b: StoredGrant | undefined): boolean =>
  a?.accessToken === b?.accessToken && a?.refreshToken === b?.refreshToken;
