import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';

/** What clients subscribe to passes the middleware of a gateway, in both eras and on all paths. */

const URIS = ['x://open', 'x://closed', 'x://quiet', 'x://other'];

async function served() {
  const capabilities = { resources: { subscribe: true } };
  const lists = { resources: URIS.map((uri) => ({ uri, name: uri })) };
  const pool = new FakePool({ a: { capabilities, lists } });
  const subscribe = pool.subscribe.bind(pool);
  pool.subscribe = async (server, filter, options) => ({ ...(await subscribe(server, filter, options)), filter });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const asked: unknown[] = [];
  const told: unknown[] = [];
  gateway.use(async (call, next) => {
    if (call.from === 'server') {
      told.push(call.server);
      const changed = call.params === undefined ? undefined : { ...call.params, title: 'hidden' };
      return call.method === 'notifications/resources/updated' && changed !== undefined
        ? next({ params: changed })
        : next();
    }
    if (call.method === 'resources/subscribe') asked.push([call.uri, call.caller?.origin]);
    if (call.uri === 'x://closed') throw new Error('not this one');
    // It answers by itself: nothing goes on.
    if (call.uri === 'x://quiet') return {};
    return call.uri === 'x://other' ? next({ params: { uri: 'x://open' } }) : next();
  });
  return { pool, asked, told, url: (await gateway.listen()).url };
}

test.each(['/servers/a/mcp', '/mcp'])(
  'a URI that middleware refuses is not agreed on in the modern era: %s',
  async (path) => {
    const { pool, asked, told, url } = await served();
    const params = { notifications: { resourceSubscriptions: URIS }, _meta: META_OF_ANYONE };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen', params });
    const control = new AbortController();
    const response = await fetch(url + path, {
      method: 'POST',
      headers: headersOf('subscriptions/listen'),
      body,
      signal: control.signal,
    });
    const { value } = (await response.body?.getReader().read()) ?? {};
    for (const { notify } of pool.subscriptions)
      notify({ method: 'notifications/resources/updated', params: { uri: 'x://open' } });
    expect(told).toEqual([path === '/mcp' ? undefined : 'a']);
    control.abort();
    expect(JSON.parse(/data: (.*)/.exec(Buffer.from(value ?? []).toString())?.[1] ?? '')).toMatchObject({
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { resourceSubscriptions: ['x://open'] } },
    });
    expect(asked).toEqual(URIS.map((uri) => [uri, '127.0.0.1']));
    expect(pool.subscriptions.map(({ uri }) => uri)).toEqual(['x://open']);
  },
);

test.each(['/servers/a/mcp', '/mcp'])(
  'what a legacy client is told of its URIs passes middleware: %s',
  async (path) => {
    const { pool, url } = await served();
    const client = new RawClient(url + path);
    await client.initialize();
    const stream = await client.listen();
    await client.call('resources/subscribe', { uri: 'x://open' });
    expect(await client.call('resources/subscribe', { uri: 'x://closed' })).toMatchObject({ error: {} });
    for (const { uri, notify } of pool.subscriptions) {
      notify({ method: 'notifications/resources/updated', params: { uri, title: 'secret' } });
    }
    await expect.poll(() => stream.messages).toMatchObject([{ params: { uri: 'x://open', title: 'hidden' } }]);
  },
);
