import type { Clock } from '../core/clock.js';
import { messageOf, SignInError } from '../core/errors.js';
import { lent, within } from '../core/time/within.js';
import { keyOf, type OAuthServer } from './OAuthServer.js';
import { checkGrant, type StoredGrant, type TokenStore } from './store/TokenStore.js';

/** The grants of a store, by server and principal. What belongs to another of either is never handed out. */
export class Grants {
  readonly #store: Pick<TokenStore, 'get' | 'set' | 'delete'>;
  readonly #exclusive: TokenStore['exclusive'];
  readonly #clock: Clock;

  constructor(store: TokenStore, clock: Clock) {
    this.#store = lent('the store of tokens', store, ['get', 'set', 'delete'], { clock });
    this.#exclusive = store.exclusive?.bind(store);
    this.#clock = clock;
  }

  /** @throws SignInError when the store cannot be read, or has what is not this one's */
  async get(server: OAuthServer, principal: string | undefined): Promise<StoredGrant | undefined> {
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

  /** @throws SignInError */
  async set(server: OAuthServer, principal: string | undefined, grant: StoredGrant): Promise<void> {
    try {
      await this.#store.set(keyOf(server, principal), grant);
    } catch (error) {
      throw new SignInError(server.name, `the token could not be stored: ${messageOf(error)}`, error);
    }
  }

  /** @throws SignInError */
  async delete(server: OAuthServer, principal: string | undefined): Promise<void> {
    try {
      await this.#store.delete(keyOf(server, principal));
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
    const exclusive = this.#exclusive;
    if (exclusive === undefined) return work();
    let own: { readonly error: unknown } | undefined;
    const watched = (): Promise<T> =>
      work().catch((error: unknown) => {
        own = { error };
        throw error;
      });
    try {
      const run = async (): Promise<T> => exclusive(keyOf(server, principal), watched, signal);
      return await within(run(), { clock: this.#clock, signal });
    } catch (error) {
      if (own !== undefined) throw own.error;
      signal.throwIfAborted();
      throw new SignInError(server.name, `the store of tokens failed: ${messageOf(error)}`, error);
    }
  }
}
