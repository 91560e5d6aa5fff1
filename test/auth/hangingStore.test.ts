import { expect, test } from 'vitest';
import type { StoredGrant, TokenStore } from '../../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../../src/auth/UpstreamOAuth.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const FAR = { name: 'far', url: 'https://far.example/mcp', auth: { type: 'oauth' } } as const;
const grant: StoredGrant = {
  server: FAR.url,
  issuer: 'https://i.example',
  resource: FAR.url,
  client: { id: 'c' },
  accessToken: 'a',
};

test.each(['get', 'exclusive'] as const)(
  'a store of tokens whose %s hung once is asked again by the next call',
  async (method) => {
    const clock = new FakeClock();
    let hangs = true;
    const hang = <T>(answer: () => Promise<T>): Promise<T> => (hangs ? new Promise(() => undefined) : answer());
    const store: TokenStore = {
      get: () =>
        method === 'get' ? hang(async () => grant) : Promise.resolve({ ...grant, expiresAt: 1, refreshToken: 'r' }),
      set: async () => undefined,
      delete: async () => undefined,
      exclusive: () => hang(() => Promise.reject(new Error('asked again'))),
    };
    const oauth = new UpstreamOAuth({ store, clock, requestTimeoutMs: 2_000 });
    const { signal } = new AbortController();
    const ask = (): Promise<unknown> =>
      oauth
        .credentials({ server: 'far', config: FAR, caller: undefined, signal, reason: 'start' })
        .catch((error) => error);
    const hung = ask();
    await clock.advance(6_000);
    expect(await hung).toMatchObject({ code: 'ERR_SIGN_IN' });
    hangs = false;
    const again = ask();
    await clock.advance(6_000);
    if (method === 'get') expect(await again).toMatchObject({ headers: { authorization: 'Bearer a' } });
    else expect(await again).toMatchObject({ message: expect.stringContaining('asked again') });
  },
);
