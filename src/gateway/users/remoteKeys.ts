import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { askOnce } from '../../connection/net/sockets/askOnce.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { readStream } from '../../core/files/readWhole.js';
import { withTimeoutSignal } from '../../core/time/within.js';

export interface RemoteKeysOptions {
  readonly cacheMs: number;
  readonly cooldownMs: number;
  readonly timeoutMs: number;
}

const JSON_TYPES = 'application/json, application/jwk-set+json';
/** Of a list of keys: more than any issuer has. */
const MAX_BYTES = 1_024 * 1_024;
/** The same; each token is held against all of them. */
const MAX_KEYS = 1_000;
/** Without keys no user gets in: a failure is then told again for so long at most, and asked after. */
const RETRY_MS = 1_000;
/** Keys that were good stand for so long, where no newer ones can be had. */
const KEPT_MS = 24 * 3_600_000;

/**
 * The keys at a URL. Once they are older than `cacheMs` they are asked for anew behind the calls, and stand until new ones are there:
 * an issuer that fails locks out no user for `KEPT_MS`. A call waits for them where there are none, where its key is not among them, and
 * where nothing has been heard for twice as long as `cacheMs`. What failed fails at once for `cooldownMs` from then on: any number of bad
 * tokens would each have an issuer that is down asked again, and wait for that.
 */
export async function remoteKeys(
  url: string,
  { cacheMs, cooldownMs, timeoutMs }: RemoteKeysOptions,
  clock: Clock = systemClock,
): Promise<JWTVerifyGetKey> {
  const { createLocalJWKSet, errors } = await import('jose');
  const keptMs = Math.max(KEPT_MS, cacheMs);
  let known: { readonly find: JWTVerifyGetKey; readonly atMs: number } | undefined;
  let failed: { readonly atMs: number; readonly error: unknown } | undefined;
  let asking: Promise<JWTVerifyGetKey> | undefined;

  // Keys come from where the operator says, not from where that place points to.
  const read = (signal: AbortSignal): Promise<unknown> =>
    askOnce(new URL(url), { signal, headers: { accept: JSON_TYPES } }, async (response) => {
      if (response.statusCode !== 200) throw new Error(`the answer is ${response.statusCode}`);
      return JSON.parse(await readStream(response, MAX_BYTES));
    });
  const get = async (): Promise<JWTVerifyGetKey> => {
    try {
      const { keys } = (await withTimeoutSignal(timeoutMs, undefined, read)) as JSONWebKeySet;
      if (!Array.isArray(keys)) throw new Error('it is no list of keys');
      if (keys.length > MAX_KEYS) throw new Error(`the list has more than ${MAX_KEYS} keys`);
      // It makes a copy of all that it is given, and takes nothing where one of them is odd.
      const good = keys.filter((key) => isTaken(() => createLocalJWKSet({ keys: [key] })));
      if (good.length === 0) throw new Error('the list has no key that can be read');
      const find = createLocalJWKSet({ keys: good });
      known = { find, atMs: clock.now() };
      failed = undefined;
      return find;
    } catch (cause) {
      const error = new Error(`the keys at ${url} cannot be had: ${messageOf(cause)}`, { cause });
      failed = { atMs: clock.now(), error };
      throw error;
    }
  };
  /** `good`: those that stand where it fails. */
  const refresh = async (good: JWTVerifyGetKey | undefined): Promise<JWTVerifyGetKey> => {
    const pauseMs = good === undefined ? Math.min(cooldownMs, RETRY_MS) : cooldownMs;
    if (failed !== undefined && clock.now() - failed.atMs < pauseMs) throw failed.error;
    asking ??= get().finally(() => {
      asking = undefined;
    });
    return asking;
  };

  return async (header, token) => {
    const ageMs = known === undefined ? Number.POSITIVE_INFINITY : clock.now() - known.atMs;
    const good = ageMs < keptMs ? known?.find : undefined;
    let find = good;
    if (find === undefined || ageMs >= cacheMs) {
      const newest = refresh(good).catch((error: unknown) => {
        if (good === undefined) throw error;
        return good;
      });
      if (find === undefined || (ageMs >= 2 * cacheMs && failed === undefined)) find = await newest;
    }
    try {
      return await find(header, token);
    } catch (error) {
      const unknown = error instanceof errors.JWKSNoMatchingKey;
      if (!unknown || known === undefined || clock.now() - known.atMs < cooldownMs) throw error;
      return (await refresh(find))(header, token);
    }
  };
}

function isTaken(take: () => unknown): boolean {
  try {
    take();
    return true;
  } catch {
    return false;
  }
}
