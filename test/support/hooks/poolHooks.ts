import { expect } from 'vitest';
import type { PoolEvents } from '../../../src/pool/McpPool.js';
import { ServerRegistry } from '../../../src/registry/config/ServerRegistry.js';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { FileCache } from '../../../src/toolstore/FileCache.js';
import { NoOpCache } from '../../../src/toolstore/NoOpCache.js';
import { closeAfter } from '../closeAfter.js';
import { rawPool, tool as rawTool } from '../httpPool.js';
import { memoryPool } from '../memoryPool.js';
import { echo, stdioPool, tool } from '../stdioPool.js';
import { tempFolder } from '../tempFolder.js';
import { BOTH, FAST, failure, logged, logger, planted, poolCall, rejecter, SERVER, thrower } from './planted.js';

/** What a throw does in the functions that lifecycles, pools and their calls take, by `Type.hook`, as the types call them. */
export const poolHooks: Readonly<Record<string, () => unknown>> = {
  'LifecycleManagerOptions.random': async () => {
    const manager = closeAfter(new LifecycleManager({ random: thrower, ledger: false }));
    const restarted = new Promise((done) => void manager.on('restarting', done));
    await manager.start({ name: 's', command: 'sh', args: ['-c', 'exit 1'], restart: 'always', backoff: FAST });
    await restarted;
  },
  LifecycleEvents: async () => {
    const manager = closeAfter(new LifecycleManager({ ledger: false, logger }));
    for (const event of ['started', 'exited', 'stopped', 'failed', 'removed', 'restarted'] as const)
      manager.on(event as never, thrower);
    const handle = await manager.start({ name: 's', command: 'cat' });
    await handle.stop();
    await handle.remove();
    expect(logged.length).toBeGreaterThan(0);
  },
  'ManagedProcess.onExit and onStderr': async () => {
    const child = await ManagedProcess.spawn('s', { command: 'sh', args: ['-c', 'echo a >&2; cat'] }, { logger });
    child.onExit(thrower);
    child.onStderr(thrower);
    await child.stop();
    await child.exited;
    expect(logged.length).toBeGreaterThan(0);
  },
  RegistryEvents: () => {
    const registry = closeAfter(new ServerRegistry({ logger }));
    for (const event of ['added', 'removed', 'changed'] as const) registry.on(event, thrower);
    registry.add(SERVER);
    registry.set({ ...SERVER, command: 'y' } as never);
    registry.remove('s');
    expect(logged).toHaveLength(3);
  },
  'PoolOptions.wrapConnection': async () => {
    for (const wrapConnection of BOTH) await poolCall({ wrapConnection });
  },
  'CredentialsHook.settled': async () => {
    for (const settled of BOTH) {
      const { pool } = memoryPool({ logger, credentials: Object.assign(async () => undefined, { settled }) });
      await pool.close();
    }
    expect(logged).toHaveLength(BOTH.length);
  },
  'PoolOptions.credentials': async () => {
    for (const credentials of BOTH) await poolCall({ credentials });
    for (const bad of BOTH) {
      // The one that is asked after a 401.
      let refuse = false;
      const { pool } = await rawPool(
        { before: ({ res }) => refuse && res.writeHead(401).end() !== undefined },
        { credentials: async ({ reason }) => (reason === '401' ? bad() : { headers: {} }) },
      );
      await rawTool(pool, 'echo', { text: 'a' });
      refuse = true;
      expect(await failure(rawTool(pool, 'echo', { text: 'a' }))).toBeInstanceOf(Error);
    }
  },
  'EraStore.get, set and delete': async () => {
    for (const method of BOTH) {
      const pool = stdioPool({ eraStore: { get: method, set: method, delete: method }, logger });
      pool.addServer(echo([], { era: 'auto' } as never));
      expect(await tool(pool, 'echo', { text: 'a' })).toBe('a');
      expect(logged.length).toBeGreaterThan(0);
    }
  },
  'RequestOptions.onProgress and onNotification': async () => {
    const { pool, connector, call } = memoryPool({ logger });
    pool.addServer(SERVER);
    connector.onMessage = ({ id, params }, connection) => {
      if (id === undefined) return;
      const { progressToken } = (params?.['_meta'] ?? {}) as { progressToken?: unknown };
      connection.say({ method: 'notifications/progress', params: { progressToken, progress: 1 } });
      connection.say({ method: 'notifications/message', params: { level: 'info', data: 1 } });
      connection.answer(id, { ok: true });
    };
    for (const hook of ['onProgress', 'onNotification'] as const) {
      expect(await call('x', { [hook]: thrower })).toEqual({ ok: true });
      expect(await call('x', { [hook]: rejecter as never })).toEqual({ ok: true });
    }
    expect(logged.length).toBeGreaterThan(1);
  },
  PoolEvents: async () => {
    const { pool, connector, call } = memoryPool({ logger });
    const heard = new Set<string>();
    const events: readonly (keyof PoolEvents)[] = ['state', 'started', 'exited', 'notification', 'orphanRequest'];
    for (const event of events)
      pool.on(event, () => {
        heard.add(event);
        return thrower();
      });
    pool.addServer(SERVER);
    await call('echo');
    connector.last.say({ method: 'notifications/tools/list_changed' });
    connector.last.say({ id: 9, method: 'roots/list' });
    connector.last.die('it crashed');
    await expect.poll(() => [...heard].sort()).toEqual([...events].sort());
    expect(await call('echo')).toMatchObject({ name: 'echo' });
  },
  'PoolEvents.orphanRequest.respond': async () => {
    const { pool, connector, call } = memoryPool({ logger });
    pool.on('orphanRequest', ({ respond }) => respond(rejecter()));
    pool.addServer(SERVER);
    await call('echo');
    const { seen } = connector.last;
    connector.last.say({ id: 9, method: 'roots/list' });
    await expect.poll(() => seen.find((each) => each.id === 9)).toMatchObject({ error: { code: expect.any(Number) } });
  },
  'McpPool.subscribe.onNotification': async () => {
    const { pool, connector } = memoryPool({ logger });
    pool.addServer(SERVER);
    connector.onMessage = ({ id }, connection) => id !== undefined && connection.answer(id, {});
    await pool.subscribe('s', { resourceUris: ['a:b'] }, { onNotification: thrower }).catch((error: unknown) => error);
    connector.last.say({ method: 'notifications/resources/updated', params: { uri: 'a:b' } });
    expect(await pool.request('s', 'ping')).toEqual({});
  },
  Loader: async () => {
    for (const load of BOTH) {
      const cache = closeAfter(new NoOpCache());
      expect(planted(await failure(cache.getOrLoadTools({ name: 's' }, load)))).toBe(true);
      const file = closeAfter(new FileCache({ directory: tempFolder(), logger }));
      expect(planted(await failure(file.getOrLoadTools({ name: 's' }, load)))).toBe(true);
      expect(planted(await failure(file.getOrLoad('k', load)))).toBe(true);
    }
  },
};
