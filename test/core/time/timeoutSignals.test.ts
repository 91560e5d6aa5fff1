import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { guardedFetch } from '../../../src/auth/net/guardedFetch.js';
import { closeAfter } from '../../support/closeAfter.js';
import { collectGarbage } from '../../support/collectGarbage.js';

const src = resolve(import.meta.dirname, '../../../src');

test('an authorization server that never answers is given up in time, however often garbage is collected', async () => {
  const silent = createServer((socket) => void socket.on('error', () => undefined).resume()).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  closeAfter({ close: async () => void (await once(silent.close(), 'close')) });
  const { port } = silent.address() as { port: number };
  const fetch = guardedFetch({ reach: 'any', timeoutMs: 300, maxBytes: 1_000, signal: new AbortController().signal });
  const collecting = setInterval(collectGarbage, 20);
  try {
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('cannot be asked');
  } finally {
    clearInterval(collecting);
  }
});

/** Node 20 may collect what `AbortSignal.timeout` gave as garbage before it aborts, when only `AbortSignal.any` knows it. */
test('no wait ends by a signal of AbortSignal.timeout within AbortSignal.any', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const both = files.filter((file) => {
    const text = readFileSync(join(src, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    return text.includes('AbortSignal.any(') && text.includes('AbortSignal.timeout(');
  });
  expect(files.length).toBeGreaterThan(500);
  expect(both).toEqual([]);
});
