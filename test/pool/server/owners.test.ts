import { expect, test } from 'vitest';
import type { Caller, PoolEvents } from '../../../src/pool/McpPool.js';
import { MEMORY, memoryPool } from '../../support/memoryPool.js';

const ANN: Caller = { principal: 'ann', key: 'a' };
const BOB: Caller = { principal: 'bob', key: 'b' };

test.each(['shared', 'leased', 'bound'] as const)(
  '%s: what comes unasked names the principal and session of its connection, and of no other',
  async (sharing) => {
    const { pool, connector, call } = memoryPool();
    pool.addServer({ ...MEMORY, sharing });
    const heard: Pick<PoolEvents['notification'], 'principal' | 'key'>[] = [];
    const asked: Pick<PoolEvents['orphanRequest'], 'principal' | 'key'>[] = [];
    pool.on('notification', ({ principal, key }) => heard.push({ principal, key }));
    pool.on('orphanRequest', ({ principal, key, respond }) => {
      asked.push({ principal, key });
      respond(Promise.resolve({}));
    });
    await call('x', { caller: ANN });
    await call('x', { caller: BOB });
    if (sharing !== 'bound') await call('x');
    for (const connection of connector.made) {
      connection.say({ method: 'notifications/message', params: { level: 'info', data: 'secret' } });
      connection.say({ id: 1, method: 'roots/list' });
    }
    const owners = [
      { principal: 'ann', key: 'a' },
      { principal: 'bob', key: 'b' },
      ...(sharing === 'bound' ? [] : [{ principal: undefined, key: undefined }]),
    ];
    expect(heard).toEqual(owners);
    expect(asked).toEqual(owners);
  },
);
