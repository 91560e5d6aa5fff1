import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { ReplicaLink } from '../../../src/gateway/replicas/ReplicaLink.js';
import type { Authenticate } from '../../../src/gateway/users/Authenticate.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, RawClient } from '../../support/httpClient.js';

const byName: Authenticate = async ({ headers: { authorization = '' } }) => ({ principal: String(authorization) });

test.each([
  ['its user', byName, 'user eve'],
  ['its address, where there are no users', undefined, '127.0.0.1'],
] as const)('what is noted of a session, and that it has ended, counts to %s', async (_, authenticate, owner) => {
  const noted: (readonly [name: string, text: string | undefined, owner: string])[] = [];
  const link: ReplicaLink = {
    id: '0a1b2c3d',
    publish: () => undefined,
    listen: () => ({ [Symbol.dispose]: () => undefined }),
    note: async (_session, name, text, _lifeMs, by) => void noted.push([name, text, by]),
    notes: async () => ({ 'uri x:1': '1' }),
    isAlive: async () => true,
  };
  const pool = new FakePool({ one: { capabilities: { resources: { subscribe: true } } } });
  const users = authenticate && { authenticate };
  const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys: [randomBytes(32)], replicas: link, ...users }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`, { authorization: 'eve' });
  await client.initialize();
  expect((await client.call('resources/subscribe', { uri: 'x:1' })).result).toEqual({});
  expect((await exchange(client.url, { method: 'DELETE', headers: client.headers })).status).toBe(200);
  await expect.poll(() => noted.length).toBe(3);
  expect(noted).toEqual([
    ['uri x:1', '1', owner],
    ['ended', '1', owner],
    ['uri x:1', undefined, owner],
  ]);
});
