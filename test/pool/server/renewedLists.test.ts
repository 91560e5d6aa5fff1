import { expect, test } from 'vitest';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawServer, said } from '../../support/rawServer.js';

/** A pool of a server that knows the session of that name alone. */
async function house() {
  const upstream = { session: 'one' };
  const { url: own } = closeAfter(
    await RawServer.listen({
      before: ({ method, message, json, res, headers }) => {
        if (method === 'GET') {
          res.writeHead(405).end();
          return true;
        }
        if (message?.method === 'initialize') res.setHeader('mcp-session-id', upstream.session);
        else if (headers['mcp-session-id'] !== upstream.session && message?.method !== 'server/discover') {
          res.writeHead(404).end('no such session');
          return true;
        }
        const results = new Map<string, () => object>([
          [
            'initialize',
            () => ({
              protocolVersion: '2025-11-25',
              capabilities: { tools: {} },
              serverInfo: { name: 's', version: '1' },
            }),
          ],
          ['tools/call', () => said(String(message?.params?.['name']))],
        ]);
        const result = results.get(message?.method)?.();
        if (result === undefined && message !== undefined && message.id === undefined) {
          res.writeHead(202).end();
          return true;
        }
        if (result !== undefined) json({ jsonrpc: '2.0', id: message.id, result });
        return result !== undefined;
      },
    }),
  );
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer({ name: 's', transport: 'http', url: own, sharing: 'shared' });
  return { upstream, pool };
}

test('a server that comes back with another session may have other lists: those that it has are told as changed', async () => {
  const { upstream, pool } = await house();
  const told: unknown[] = [];
  pool.on('notification', ({ server, notice }) => told.push([server, notice.method]));
  const call = () => pool.request('s', 'tools/call', { name: 'a' });
  expect(await call()).toEqual(said('a'));
  expect(told).toEqual([]);
  upstream.session = 'two';
  expect(await call()).toEqual(said('a'));
  expect(told).toEqual([['s', 'notifications/tools/list_changed']]);
});
