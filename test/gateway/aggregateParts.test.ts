import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { ServerStoppedError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import { mergedHints } from '../../src/gateway/aggregate/lists/pages.js';
import { Subscriptions, type SubscriptionsOptions } from '../../src/gateway/aggregate/Subscriptions.js';
import { NO_INDEX } from '../../src/gateway/aggregate/uris/ListIndex.js';
import { fits, parseUriTemplate } from '../../src/gateway/aggregate/uris/uriTemplates.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import type { Subscription } from '../../src/pool/McpPool.js';
import { deferred } from '../support/bridgeTo.js';

test('what is said of several lists together holds of each', () => {
  const list = (ttlMs?: number, cacheScope?: 'public' | 'private', missing = false) =>
    ({ server: 's', items: [], index: NO_INDEX, hints: { ttlMs, cacheScope }, missing }) as const;
  expect(mergedHints([list(500, 'public'), list(90, 'public')])).toEqual({ ttlMs: 90, cacheScope: 'public' });
  expect(mergedHints([list(500, 'public'), list(90, 'private')])).toEqual({ ttlMs: 90, cacheScope: 'private' });
  expect(mergedHints([list(500, 'public'), list()])).toEqual({ ttlMs: 0, cacheScope: 'private' });
  expect(mergedHints([list(500, 'public', true)])).toEqual({ ttlMs: 0, cacheScope: 'private' });
  expect(mergedHints([])).toEqual({ ttlMs: 0, cacheScope: 'private' });
});

test('a URI fits what a template can expand to, and nothing else', () => {
  const cases = [
    ['file:///{path}', 'file:///a', true],
    ['file:///{path}', 'file:///a/b', false],
    ['file:///{+path}', 'file:///a/b', true],
    ['file:///{path}', 'file:///', false],
    ['db://t{/row}{?q}', 'db://t/1?q=2', true],
    ['db://t{/row}{?q}', 'db://t', true],
    ['a{x}a', 'a', false],
    ['', '', true],
  ] as const;
  for (const [template, uri, fit] of cases)
    expect([template, uri, fits(parseUriTemplate(template), uri, { left: 1_000_000 })]).toEqual([template, uri, fit]);
});

test('what is listened to ends with a server that was stopped before another had agreed', async () => {
  const client = { signal: new AbortController().signal, era: 'modern' };
  const [ended, agreed] = [deferred<void>(), deferred<Subscription>()];
  const opened = (uri: string, end: Promise<void>): Subscription =>
    ({ filter: { resourceUris: [uri] }, ended: end, close: async () => undefined }) as unknown as Subscription;
  let asked = 0;
  const subscribe = async (server: string): Promise<Subscription> => {
    if (server === 'slow') return agreed.promise;
    if (++asked > 1) throw new ServerStoppedError(server);
    return opened('a:1', ended.promise);
  };
  const subscriptions = new Subscriptions({
    pool: { subscribe, hasServer: () => true, state: () => 'stopped' },
    callers: { info: async () => undefined, of: () => undefined },
    uris: {
      findAll: async () => [
        { server: 'stopped', uri: 'a:1' },
        { server: 'slow', uri: 'b:1' },
      ],
    },
    clock: systemClock,
    logger: silentLogger,
    serverWaitMs: 10_000,
  } as unknown as SubscriptionsOptions);
  const options = { signal: client.signal, onNotification: () => undefined };
  const listening = subscriptions.listen(client as Downstream, { resourceSubscriptions: ['a:1', 'b:1'] }, options);
  await expect.poll(() => asked).toBe(1);
  ended.resolve();
  await expect.poll(() => asked).toBe(2);
  agreed.resolve(opened('b:1', new Promise(() => undefined)));
  await (await listening).ended;
});
