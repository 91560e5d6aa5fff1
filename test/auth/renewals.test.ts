import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { keyOf } from '../../src/auth/OAuthServer.js';
import { RenewalPauses } from '../../src/auth/RenewalPauses.js';
import { FileTokenStore } from '../../src/auth/store/FileTokenStore.js';
import type { StoredGrant, TokenStore } from '../../src/auth/store/TokenStore.js';
import { UpstreamOAuth } from '../../src/auth/UpstreamOAuth.js';
import { systemClock } from '../../src/core/clock.js';
import { SignInError } from '../../src/core/errors.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { HttpListener } from '../../src/testing/wire/http/HttpListener.js';
import { readBody } from '../../src/testing/wire/http/readBody.js';
import { closeAfter } from '../support/closeAfter.js';
import { failure } from '../support/rawCalls.js';
import { RawServer } from '../support/rawServer.js';
import { said } from '../support/stdioPool.js';
import { tempFolder } from '../support/tempFolder.js';

/** An authorization server that gives `at2` for `rt1` and so on, once each, as soon as it is let; and what it was asked to revoke. */
async function issuer() {
  const revoked: (string | null)[] = [];
  const refused: (string | null)[] = [];
  const held: (() => void)[] = [];
  let holding = false;
  let last = 1;
  let cut = 0;
  let asked = 0;
  let down = false;
  const json = (response: ServerResponse, status: number, value: object): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  const http = closeAfter(
    new HttpListener(async (request, response) => {
      const body = new URLSearchParams((await readBody(request)).toString());
      const at = http.origin;
      asked++;
      if (down) return json(response, 503, {});
      if (request.url?.startsWith('/.well-known/') === true) {
        const endpoints = { authorization_endpoint: `${at}/a`, token_endpoint: `${at}/token` };
        json(response, 200, {
          issuer: at,
          ...endpoints,
          revocation_endpoint: `${at}/revoke`,
          response_types_supported: ['code'],
        });
      } else if (request.url === '/revoke') {
        revoked.push(body.get('token'));
        json(response, 200, {});
      } else if (body.get('refresh_token') !== `rt${last}`) {
        refused.push(body.get('refresh_token'));
        json(response, 400, { error: 'invalid_grant' });
      } else {
        const n = ++last;
        response.on('close', () => {
          if (!response.writableFinished) cut++;
        });
        if (holding) await new Promise<void>((resolve) => void held.push(resolve));
        const tokens = { access_token: `at${n}`, refresh_token: `rt${n}`, token_type: 'Bearer', expires_in: 3_600 };
        json(response, 200, tokens);
      }
    }),
  );
  await http.listen('listen', {});
  return {
    url: `${http.origin}/mcp`,
    revoked,
    refused,
    cut: () => cut,
    asks: () => asked,
    fail: (fails: boolean) => {
      down = fails;
    },
    hold: () => {
      holding = true;
    },
    asked: () => expect.poll(() => held.length).toBe(1),
    let: () => {
      holding = false;
      for (const each of held.splice(0)) each();
    },
  };
}

/** A grant whose token is over, in a store in memory; `set` fails while `full`. */
class Memory implements TokenStore {
  full = false;
  readonly kept = new Map<string, StoredGrant>();
  async get(key: string): Promise<StoredGrant | undefined> {
    return this.kept.get(key);
  }
  async set(key: string, grant: StoredGrant): Promise<void> {
    if (this.full) throw new Error('no space left');
    this.kept.set(key, grant);
  }
  async delete(key: string): Promise<void> {
    this.kept.delete(key);
  }
}

async function world(store: TokenStore = new Memory(), clock = { ...systemClock }) {
  const as = await issuer();
  const far = { name: 'far', transport: 'http', url: as.url, auth: { type: 'oauth' } } as const;
  const oauth = new UpstreamOAuth({ store, clock });
  const key = keyOf(far, undefined);
  const { origin: at } = new URL(as.url);
  const grant: StoredGrant = {
    server: as.url,
    issuer: at,
    resource: as.url,
    client: { id: 'c' },
    accessToken: 'at1',
    refreshToken: 'rt1',
    expiresAt: clock.wallNow() - 1,
  };
  await store.set(key, grant);
  const ask = async (by = oauth, { signal } = new AbortController()): Promise<string | undefined> =>
    (await by.credentials({ server: 'far', config: far, caller: undefined, signal, reason: 'start' }))?.headers?.[
      'authorization'
    ];
  return { as, far, oauth, store, key, grant, ask };
}

test.each(['in memory', 'in files'])(
  'a sign-out during a renewal stands, and ends what that brings: %s',
  async (how) => {
    const directory = tempFolder();
    const make = (): TokenStore => new FileTokenStore({ directory });
    const { as, far, oauth, store, key, ask } = await world(how === 'in files' ? make() : new Memory());
    as.hold();
    const renewal = failure(ask());
    await as.asked();
    const signingOut = how === 'in files' ? new UpstreamOAuth({ store: make() }) : oauth;
    expect(await signingOut.signOut(far)).toEqual({ revoked: true });
    as.let();
    expect(await renewal).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
    expect(await store.get(key)).toBeUndefined();
    await oauth.credentials.settled?.();
    expect(as.revoked.sort()).toEqual(['at1', 'at2', 'rt1', 'rt2']);
  },
);

test('a new sign-in during a renewal stays', async () => {
  const { as, store, key, grant, ask } = await world();
  as.hold();
  const renewal = ask();
  await as.asked();
  const bob = { ...grant, accessToken: 'of-bob', refreshToken: 'r-of-bob', expiresAt: Date.now() + 3_600_000 };
  await store.set(key, bob);
  as.let();
  expect(await renewal).toBe('Bearer of-bob');
  expect(await store.get(key)).toEqual(bob);
  expect(as.revoked).toEqual([]);
});

test('a renewal that was sent goes on without those who wait, and is stored; a pool waits for it within its grace', async () => {
  const { as, far, oauth, store, key, ask } = await world();
  as.hold();
  const pool = new HTTPClientPool({ credentials: oauth.credentials });
  pool.addServer(far);
  const call = failure(pool.request('far', 'tools/call', { name: 'x' }));
  await as.asked();
  let closed = false;
  const closing = pool.close().then(() => {
    closed = true;
  });
  expect(await call).toMatchObject({ code: 'ERR_CLOSED' });
  // One that asks meanwhile has what that one brings.
  const next = ask();
  await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(false);
  as.let();
  await closing;
  expect((await store.get(key))?.refreshToken).toBe('rt2');
  expect(await next).toBe('Bearer at2');
  expect([as.cut(), as.refused]).toEqual([0, []]);
});

test('a close without grace does not wait for a renewal, which goes on', async () => {
  const { as, far, oauth, store, key } = await world();
  as.hold();
  const pool = new HTTPClientPool({ credentials: oauth.credentials });
  pool.addServer(far);
  const call = failure(pool.request('far', 'tools/call', { name: 'x' }));
  await as.asked();
  await pool.close({ graceMs: 0 });
  await call;
  as.let();
  await oauth.credentials.settled?.();
  expect((await store.get(key))?.refreshToken).toBe('rt2');
  expect(as.cut()).toBe(0);
});

test('what cannot be stored is used, and stored when that can be done; no spent token is shown', async () => {
  const clock = new FakeClock();
  const store = new Memory();
  const { as, far, oauth, key, ask } = await world(store, clock);
  store.full = true;
  expect(await ask()).toBe('Bearer at2');
  expect(await ask()).toBe('Bearer at2');
  expect(await oauth.status(far)).toMatchObject({ signedIn: true, renewable: true });
  // It is renewed by what the first renewal brought.
  await clock.advance(3_600_000);
  expect(await ask()).toBe('Bearer at3');
  expect(store.kept.get(key)?.refreshToken).toBe('rt1');
  store.full = false;
  await clock.advance(1_000);
  await expect.poll(() => store.kept.get(key)?.refreshToken).toBe('rt3');
  expect(await ask()).toBe('Bearer at3');
  expect(as.refused).toEqual([]);
  expect(clock.armedTimers).toBe(0);
});

test('what could not be stored is stored at the close', async () => {
  const store = new Memory();
  const { oauth, key, ask } = await world(store);
  store.full = true;
  await ask();
  store.full = false;
  const pool = new HTTPClientPool({ credentials: oauth.credentials });
  await pool.close();
  expect(store.kept.get(key)?.refreshToken).toBe('rt2');
});

test('a sign-out elsewhere ends what a pool acts with, also on a connection that is up, within a minute', async () => {
  const clock = new FakeClock();
  const store = new Memory();
  const shown: string[] = [];
  const server = await RawServer.listen({
    era: 'legacy',
    before: ({ headers, message }) => {
      if (message?.method === 'tools/call') shown.push(String(headers.authorization));
      return false;
    },
  });
  const far = { name: 'far', transport: 'http', url: server.url, auth: { type: 'oauth' } } as const;
  const oauth = new UpstreamOAuth({ store, clock });
  const sign = (accessToken: string): void =>
    void store.kept.set(keyOf(far, undefined), {
      server: far.url,
      issuer: 'https://i.example',
      resource: far.url,
      client: { id: 'c' },
      accessToken,
    });
  sign('of-ann');
  const never = Number.POSITIVE_INFINITY;
  const pool = closeAfter(
    new HTTPClientPool({ clock, credentials: oauth.credentials, healthIntervalMs: never, idleTimeoutMs: never }),
  );
  pool.addServer(far);
  const call = (): Promise<string> =>
    said(pool.request('far', 'tools/call', { name: 'echo', arguments: { text: 'x' } }));
  expect(await call()).toBe('x');
  sign('of-bob');
  await clock.advance(30_000);
  expect(await call()).toBe('x');
  store.kept.clear();
  await clock.advance(60_000);
  expect(await failure(call())).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(shown).toEqual(['Bearer of-ann', 'Bearer of-bob']);
  // Nor needs a new sign-in a new connection.
  sign('of-cid');
  expect(await call()).toBe('x');
  expect(shown.at(-1)).toBe('Bearer of-cid');
});

test('a store that fails when it is looked at takes no good token away', async () => {
  const clock = new FakeClock();
  const store = new Memory();
  const { key, grant, ask } = await world(store, clock);
  store.kept.set(key, { ...grant, expiresAt: clock.wallNow() + 3_600_000 });
  expect(await ask()).toBe('Bearer at1');
  store.get = () => Promise.reject(new Error('gone'));
  expect(await ask()).toBe('Bearer at1');
});

test.each(['authorization_code', 'client_credentials'] as const)(
  'an authorization server that fails is asked again after growing pauses; meanwhile each hears why: %s',
  async (kind) => {
    const clock = new FakeClock();
    const { as, far, oauth, store, key, grant, ask } = await world(new Memory(), clock);
    const own = { ...far, auth: { type: 'oauth', grant: kind, clientId: 'c', clientSecret: 's' } } as const;
    const { signal } = new AbortController();
    const request = { server: 'far', config: own, caller: undefined, signal, reason: 'start' } as const;
    const get = kind === 'client_credentials' ? () => oauth.credentials(request) : () => ask();
    as.fail(true);
    const refused = { code: 'ERR_SIGN_IN', message: expect.stringContaining('503') };
    const asks: boolean[] = [];
    const once = async (): Promise<void> => {
      const before = as.asks();
      expect(await failure(Promise.resolve(get()))).toMatchObject(refused);
      asks.push(as.asks() > before);
    };
    for (const ms of [0, 0, 1_000, 1_000, 1_000]) {
      await clock.advance(ms);
      await once();
    }
    expect(asks).toEqual([true, false, true, false, true]);
    if (kind === 'client_credentials') return;
    // A new sign-in waits for no pause; nor is one who gives up a failure.
    await store.set(key, { ...grant, accessToken: 'of-bob', expiresAt: clock.wallNow() + 20_000 });
    expect(await ask()).toBe('Bearer of-bob');
    as.fail(false);
    await clock.advance(20_000);
    const leaving = new AbortController();
    leaving.abort(new Error('left'));
    expect(await failure(ask(oauth, leaving))).toMatchObject({ message: 'left' });
    expect(await ask()).toBe('Bearer at2');
  },
);

test('of what a renewal failed with its cause is not kept as large as an authorization server makes it', async () => {
  const pauses = new RenewalPauses(new FakeClock());
  const cause = new Error('x'.repeat(1_000_000));
  const fail = () => Promise.reject(new SignInError('s', 'the metadata are of no use', cause));
  await expect(pauses.run('key', fail)).rejects.toMatchObject({ cause });
  const kept = (await failure(pauses.run('key', () => expect.unreachable()))) as SignInError;
  expect(kept).toBeInstanceOf(SignInError);
  expect(kept).toMatchObject({ code: 'ERR_SIGN_IN', server: 's' });
  expect(String((kept.cause as Error).message).length).toBeLessThan(5_000);
});
