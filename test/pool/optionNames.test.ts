import { expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { SSEPool } from '../../src/pool/SSEPool.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';

// What JavaScript may hand in, and the types would refuse.
test.each([
  ['StdioPool', StdioPool, { maxConcurent: 2 }, /maxConcurrent/],
  ['StdioPool', StdioPool, { ledgr: false }, /ledger/],
  ['StdioPool', StdioPool, { backoff: { initialMS: 5 } }, /initialMs/],
  ['HTTPClientPool', HTTPClientPool, { keepAliveMS: 5 }, /keepAliveMs/],
  ['SSEPool', SSEPool, { requestTimeout: 5 }, /requestTimeoutMs/],
  ['UnifiedPool', UnifiedPool, { stdinGrace: 5 }, /stdinGraceMs/],
] as const)('%s refuses an option that does not exist, and names the nearest', (part, Pool, options, near) => {
  const make = () => new (Pool as new (options: object) => unknown)(options);
  expect(make).toThrow(OptionError);
  expect(make).toThrow(near);
  expect(make).toThrow(part);
});

test('an option that is undefined counts as absent', async () => {
  const pool = new UnifiedPool({ ...({ maxConcurrent: undefined, ledger: undefined } as object) });
  await pool.close();
});
