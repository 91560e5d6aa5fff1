import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MemoryEraStore } from '../../src/core/era/EraStore.js';
import type { CallTrace } from '../../src/pool/server/calls/trace.js';
import type { StdioServerConfig } from '../../src/registry/config/ServerConfig.js';
import { bundled } from '../support/bundled.js';
import { closeAfter } from '../support/closeAfter.js';
import { said, stdioPool } from '../support/stdioPool.js';
import { tempFolder } from '../support/tempFolder.js';

const SERVER = await bundled('modern-server.mjs');
const modern = (flags: readonly string[], settings: Partial<StdioServerConfig> = {}): StdioServerConfig => ({
  name: 'm',
  transport: 'stdio',
  command: process.execPath,
  args: [SERVER, ...flags],
  ...settings,
});
const echo = { name: 'echo', arguments: { text: 'hi' } };

test('a modern server is called without a handshake, and its results come back as they are', async () => {
  const pool = stdioPool();
  pool.addServer(modern(['--modern-only'], { era: 'modern' }));
  const result = await pool.request('m', 'tools/call', echo);
  expect(result).toMatchObject({ resultType: 'complete', content: [{ type: 'text', text: 'hi' }] });
  expect(pool.info('m')).toMatchObject({ era: 'modern', protocolVersion: '2026-07-28' });
  const capabilities = { elicitation: { form: {} } };
  await pool.removeServer('m');
  pool.addServer(modern(['--modern-only'], { era: 'modern', sharing: 'leased', clientCapabilities: capabilities }));
  const asked = await pool.request('m', 'tools/call', { name: 'ask', arguments: {} });
  expect(asked).toMatchObject({ resultType: 'input_required', requestState: 'half way' });
});

test('a legacy start that is answered by -32022 goes on as modern on the same process', async () => {
  const log = join(tempFolder(), 'log');
  const pool = stdioPool();
  pool.addServer(modern(['--modern-only', `--log=${log}`]));
  expect(await said(pool.request('m', 'tools/call', echo))).toBe('hi');
  expect(pool.info('m')?.era).toBe('modern');
  expect(readFileSync(log, 'utf8').match(/start/g)).toHaveLength(1);
});

test('auto asks a sibling once, and the store remembers what it said', async () => {
  const folder = tempFolder();
  const log = join(folder, 'log');
  const starts = (): number => readFileSync(log, 'utf8').match(/start/g)?.length ?? 0;
  const eraStore = new MemoryEraStore();
  for (const [flag, era, probes] of [
    ['--modern-only', 'modern', 1],
    ['--legacy-only', 'legacy', 1],
  ] as const) {
    const config = modern([flag, `--log=${log}`], { era: 'auto' });
    const before = (() => {
      try {
        return starts();
      } catch {
        return 0;
      }
    })();
    const pool = stdioPool({ eraStore });
    pool.addServer(config);
    expect(await said(pool.request('m', 'tools/call', echo))).toBe('hi');
    expect(pool.info('m')?.era).toBe(era);
    expect(starts() - before).toBe(1 + probes);
    await pool.restartServer('m');
    expect(pool.info('m')?.era).toBe(era);
    expect(starts() - before).toBe(2 + probes);
    await pool.close();
  }
});

test('a modern verdict that fails at the start is forgotten, and the server is asked anew, once', async () => {
  const eraStore = new MemoryEraStore();
  const verdicts: string[] = [];
  const stale = {
    get: async (key: string) => (await eraStore.get(key)) ?? { era: 'modern' as const, at: 1 },
    set: async (key: string, verdict: { era: 'legacy' | 'modern'; at: number }) => {
      verdicts.push(`set ${verdict.era}`);
      await eraStore.set(key, verdict);
    },
    delete: async (key: string) => {
      verdicts.push('delete');
      await eraStore.delete(key);
    },
  };
  const pool = stdioPool({ eraStore: stale });
  pool.addServer(modern(['--legacy-only'], { era: 'auto' }));
  expect(await said(pool.request('m', 'tools/call', echo))).toBe('hi');
  expect(pool.info('m')?.era).toBe('legacy');
  expect(verdicts).toEqual(['delete', 'set legacy']);
  expect(pool.stats('m')).toMatchObject({ restarts: 0, errors: {}, pids: [expect.any(Number)] });
});

test('a broken era store stands in nobody’s way', async () => {
  const broken = { get: () => Promise.reject(new Error('a')), set: () => Promise.reject(new Error('b')) };
  const pool = stdioPool({ eraStore: { ...broken, delete: () => Promise.reject(new Error('c')) } });
  pool.addServer(modern(['--modern-only'], { era: 'auto' }));
  expect(await said(pool.request('m', 'tools/call', echo))).toBe('hi');
});

test('a modern subscription over stdio hears of changes, survives a crash, and ends when it is closed', async () => {
  const pool = stdioPool();
  pool.addServer(modern(['--modern-only'], { era: 'modern' }));
  let heard = 0;
  let tell: (() => void) | undefined;
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      tell = resolve;
    });
  const subscription = await pool.subscribe(
    'm',
    { toolsListChanged: true },
    {
      onNotification: ({ method, params }) => {
        expect(method).toBe('notifications/tools/list_changed');
        expect(JSON.stringify(params)).not.toContain('subscriptionId');
        heard++;
        tell?.();
      },
    },
  );
  expect(pool.stats('m').inFlight).toBe(0);
  const first = next();
  await pool.request('m', 'tools/call', { name: 'grow', arguments: {} });
  await first;
  const again = new Promise<void>((resolve) => {
    pool.on('restarted', () => resolve());
  });
  await expect(pool.request('m', 'tools/call', { name: 'die', arguments: {} })).rejects.toMatchObject({
    code: 'ERR_OUTCOME_UNKNOWN',
  });
  await again;
  const second = next();
  // The subscription is taken up again right after the start: until it is, the server tells nobody.
  const asking = (async () => {
    while (heard < 2) await pool.request('m', 'tools/call', { name: 'grow', arguments: {} });
  })();
  await second;
  await asking;
  await subscription.close();
  await subscription.ended;
  const before = heard;
  await pool.request('m', 'tools/call', { name: 'grow', arguments: {} });
  expect(heard).toBe(before);
});

test('a caller that finds out that its server speaks the other era alone has made no call, and the server has not failed', async () => {
  const pool = stdioPool();
  pool.addServer(modern(['--legacy-only']));
  const phases: string[] = [];
  const onCall = (message: unknown): void => {
    const { phase, method, call } = message as CallTrace;
    if (call.pool === pool) phases.push(`${phase} ${method}`);
  };
  subscribe('mcp-poolkit:call', onCall);
  closeAfter({ close: async () => void unsubscribe('mcp-poolkit:call', onCall) });
  const caller = { era: 'modern', eraOnly: true } as const;
  await expect(pool.request('m', 'ping', undefined, { caller })).rejects.toMatchObject({ option: 'caller.era' });
  expect([phases, pool.stats('m').errors, pool.stats('m').lastError]).toEqual([[], {}, undefined]);
  expect(await said(pool.request('m', 'tools/call', echo))).toBe('hi');
  // Any other failure of such a call is one.
  await pool.stopServer('m');
  await expect(pool.request('m', 'ping', undefined, { caller })).rejects.toMatchObject({ code: 'ERR_SERVER_STOPPED' });
  const told = ['queue tools/call', 'send tools/call', 'answer tools/call', 'queue ping', 'answer ping'];
  expect([phases, pool.stats('m').errors]).toEqual([told, { ERR_SERVER_STOPPED: 1 }]);
});
