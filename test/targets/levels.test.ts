import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { fakeServer } from '../../src/testing/index.js';
import { closeAfter } from '../support/closeAfter.js';
import { RawClient } from '../support/httpClient.js';
import { pool, several } from '../support/upstreams.js';

/** A server over HTTP that forgets its sessions when a test says so; `levels`: what it was told. */
async function target(name: string) {
  const levels: unknown[] = [];
  const server = closeAfter(
    fakeServer({ name, capabilities: { logging: {} }, sessions: true, tools: { who: { text: name } } }),
  );
  const http = await server.listen({
    intercept: async ({ message }) => {
      if (message?.method === 'logging/setLevel') levels.push(message.params?.['level']);
      return false;
    },
  });
  return { url: http.url, levels, forget: () => http.forget() };
}

test.each([0, 1])('target %i of two, which has lost its session, is told the log level again', async (lost) => {
  const targets = [await target('a'), await target('b')];
  const of = pool();
  of.addServer(
    several(
      targets.map(({ url }) => ({ url })),
      { balance: 'round-robin' },
    ),
  );
  await of.startServer('app');
  await expect.poll(() => of.stats('app').targets?.every(({ state }) => state === 'ready')).toBe(true);
  const gateway = closeAfter(new Gateway({ pool: of, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/app/mcp`);
  await client.initialize();
  await client.call('logging/setLevel', { level: 'info' });
  const calls = async (): Promise<void> => {
    for (let call = 0; call < 4; call++) await client.call('tools/call', { name: 'who' });
  };
  // One that its first call brings up is told with the next.
  await calls();
  await expect.poll(() => targets.map(({ levels }) => levels.at(-1))).toEqual(['info', 'info']);
  const before = targets[lost]?.levels.length ?? 0;
  await calls();
  expect(targets[lost]?.levels).toHaveLength(before);
  targets[lost]?.forget();
  await calls();
  await expect.poll(() => targets[lost]?.levels.length).toBe(before + 1);
});
