import { expect, test, vi } from 'vitest';
import { Gateway } from '../src/gateway/Gateway.js';
import { closeAfter } from './support/closeAfter.js';
import { HttpClient } from './support/http.js';
import { memoryPool } from './support/memoryPool.js';

vi.mock('../src/core/files/packageFiles.js', async (original) => ({
  ...(await original<object>()),
  builtFile: () => {
    throw new Error('mcp-poolkit is part of a bundle: gateway/status/page.html of the package is not there');
  },
}));

test('where the page is not there, in a program that is a bundle, it says so and what to do', async () => {
  const { pool } = memoryPool();
  const gateway = closeAfter(new Gateway({ pool, port: 0, status: true }));
  const { url } = await gateway.listen();
  const { status, headers, body } = await new HttpClient().ask(new URL('/status', url));
  expect([status, headers['content-type']]).toEqual([501, 'text/plain; charset=utf-8']);
  expect(body).toContain('leaves the page');
});
