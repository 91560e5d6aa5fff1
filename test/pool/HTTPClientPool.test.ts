import { expect, test } from 'vitest';
import { OutcomeUnknownError } from '../../src/core/errors.js';
import { httpPool } from '../support/httpPool.js';
import { everythingHttp, sdkServer } from '../support/httpServers.js';
import { failure } from '../support/rawCalls.js';
import { said } from '../support/stdioPool.js';

const CLIENTS = ['ann', 'bob', 'cid', 'dee'];

test('four clients sample through one shared session, a hundred times, and none gets what is another’s', async () => {
  const { url } = await sdkServer('sessions');
  const pool = httpPool();
  pool.addServer({ name: 'asks', transport: 'http', url, era: 'legacy' });
  const caller = { principal: 'team', capabilities: { sampling: {} } };
  const ask = (client: string, i: number): Promise<string> =>
    said(
      pool.request(
        'asks',
        'tools/call',
        { name: 'ask', arguments: { text: `${client} ${i}` } },
        {
          caller,
          onRequest: async ({ params }) => {
            const messages = params?.['messages'] as { content: { text: string } }[] | undefined;
            const text = `to ${client}: ${messages?.[0]?.content.text}`;
            return { model: 'm', role: 'assistant', content: { type: 'text', text } };
          },
        },
      ),
    );
  const calls = CLIENTS.flatMap((client) => Array.from({ length: 25 }, (_, i) => [client, i] as const));
  const answers = await Promise.all(calls.map(([client, i]) => ask(client, i)));
  expect(answers).toEqual(calls.map(([client, i]) => `to ${client}: ${client} ${i}`));
  expect(pool.stats('asks')).toMatchObject({ connections: 1, restarts: 0, orphanRequests: 0, errors: {} });
});

test('a modern server serves a principal over one connection, and its list changes are heard', async () => {
  const { url } = await sdkServer('modern');
  const pool = httpPool();
  await pool.startServer({ name: 'new', transport: 'http', url });
  expect(pool.info('new')).toMatchObject({ era: 'modern' });
  const echo = (text: string): Promise<string> =>
    said(pool.request('new', 'tools/call', { name: 'echo', arguments: { text } }));
  const texts = Array.from({ length: 50 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map(echo))).toEqual(texts);
  const heard: string[] = [];
  const subscription = await pool.subscribe(
    'new',
    { toolsListChanged: true },
    { onNotification: ({ method }) => heard.push(method) },
  );
  await pool.request('new', 'tools/call', { name: 'touch', arguments: {} });
  await expect.poll(() => heard).toEqual(['notifications/tools/list_changed']);
  await subscription.close();
  expect((await pool.listAll('new', 'tools')).items.map(({ name }) => name)).toContain('where');
  expect(pool.stats('new')).toMatchObject({ connections: 1, inFlight: 0, state: 'ready' });
});

test('a real server killed in mid-call and back again is served on in a new session', async () => {
  const first = await everythingHttp();
  const pool = httpPool();
  pool.addServer({ name: 'real', transport: 'http', url: first.url });
  const echo = (message: string): Promise<string> =>
    said(pool.request('real', 'tools/call', { name: 'echo', arguments: { message } }));
  expect(await echo('a')).toBe('Echo: a');
  const progress: unknown[] = [];
  const long = failure(
    pool.request(
      'real',
      'tools/call',
      { name: 'trigger-long-running-operation', arguments: { duration: 30, steps: 600 } },
      { onProgress: (each) => progress.push(each) },
    ),
  );
  await expect.poll(() => progress.length, { timeout: 10_000 }).toBeGreaterThan(0);
  await first.close();
  await everythingHttp(first.port);
  expect(await Promise.all(['b', 'c', 'd'].map(echo))).toEqual(['Echo: b', 'Echo: c', 'Echo: d']);
  expect(await long).toBeInstanceOf(OutcomeUnknownError);
  expect(pool.stats('real')).toMatchObject({ state: 'ready', connections: 1 });
});
