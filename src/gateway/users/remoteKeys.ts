import type { JWTVerifyGetKey } from 'jose';
import { type Clock, systemClock } from '../../core/clock.js';
import { readStream } from '../../core/files/readWhole.js';

export interface RemoteKeysOptions {
  readonly cacheMs: number;
  readonly cooldownMs: number;
  readonly timeoutMs: number;
}

/** Of a list of keys: more than any issuer has. */
const MAX_BYTES = 1_024 * 1_024;
/** Without keys no user gets in: a failure is then told again for so long at most, and asked after. */
const RETRY_MS = 1_000;

/**
 * The keys at a URL, by `jose`, which remembers when it last got them, and not when it last failed to: any number of bad tokens would
 * each have an issuer that is down asked again, and wait for that. What failed fails at once for `cooldownMs` from then on.
 */
export async function remoteKeys(
  url: string,
  { cacheMs, cooldownMs, timeoutMs }: RemoteKeysOptions,
  clock: Clock = systemClock,
): Promise<JWTVerifyGetKey> {
  const { createLocalJWKSet, createRemoteJWKSet, customFetch } = await import('jose');
  let failed: { readonly atMs: number; readonly error: unknown } | undefined;
  const keys = createRemoteJWKSet(new URL(url), {
    cacheMaxAge: cacheMs,
    cooldownDuration: cooldownMs,
    timeoutDuration: timeoutMs,
    [customFetch]: async (target: string, init: RequestInit): Promise<Response> => {
      const pauseMs = keys.fresh ? cooldownMs : Math.min(cooldownMs, RETRY_MS);
      if (failed !== undefined && clock.now() - failed.atMs < pauseMs) throw failed.error;
      try {
        // Keys come from where the operator says, not from where that place points to.
        const response = await fetch(target, { ...init, redirect: 'error' });
        const text = await readStream((response.body ?? []) as AsyncIterable<Buffer>, MAX_BYTES);
        if (response.status !== 200) throw new Error(`the keys at ${target} were answered with ${response.status}`);
        createLocalJWKSet(JSON.parse(text));
        failed = undefined;
        return new Response(text);
      } catch (error) {
        failed = { atMs: clock.now(), error };
        throw error;
      }
    },
  });
  return keys;
}
