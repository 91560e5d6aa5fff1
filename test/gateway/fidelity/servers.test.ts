import { expect, test, vi } from 'vitest';
import { everything } from '../../support/everything.js';
import { compareServer } from './servers/compareServer.js';
import { unexplained } from './servers/reasons.js';
import { SERVERS } from './servers/SERVERS.js';

/** The short form of `npm run fidelity`, which compares more than a dozen servers of npm. */

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

test('a real server is the same straight and through the gateway, value by value, in both sharing modes', async () => {
  const [server] = SERVERS;
  if (server === undefined) throw new Error('no server');
  const { command, args = [] } = everything();
  const { seen, fields, differs } = await compareServer(server, { command, args, env: {} }, false);
  expect(Object.keys(seen)).toContain('prompts/list');
  expect(fields).toBeGreaterThan(200);
  expect(unexplained(differs.shared)).toEqual([]);
  expect(unexplained(differs.bound)).toEqual([]);
});
