import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { CircuitBreaker } from '../../../src/concurrent/breaker/CircuitBreaker.js';
import { keptError } from '../../../src/core/errors/keptError.js';
import { RpcError, StartError } from '../../../src/core/errors.js';
import { PartitionHealth } from '../../../src/pool/server/partitions/PartitionHealth.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { collectGarbage } from '../../support/collectGarbage.js';

const MIB = 2 ** 20;
const MOST = 2_048;
const KNOWN = { code: 'ERR_RPC', acted: 'answered', retryable: false, server: 's', rpcCode: -32_602 };

test('a small error is kept as it is', () => {
  const small = [
    new StartError('s', 'no', { stderr: ['line'] }, new RpcError('s', 1, 'no')),
    new RangeError('x'),
    new AggregateError([new Error('a')]),
    'text',
    undefined,
    null,
    7,
  ];
  for (const each of small) expect(keptError(each)).toBe(each);
});

test('of a large error its class, its fields and the beginning of its texts are kept', () => {
  const large = new RpcError('s', -32_602, 'm'.repeat(MIB), { x: 'd'.repeat(MIB) }, 'd'.repeat(MIB));
  const kept = keptError(large) as RpcError;
  expect(kept).toBeInstanceOf(RpcError);
  expect({ ...kept }).toMatchObject(KNOWN);
  expect([kept.name, kept.message, kept.data, kept.dataText]).toEqual([
    'RpcError',
    'm'.repeat(MOST),
    undefined,
    undefined,
  ]);
  expect(kept.stack?.length).toBeLessThan(2 * MOST);
  expect(JSON.stringify(kept).length).toBeLessThan(2 * MOST);
  // Its data alone is large; its cause alone is; one of several is.
  expect(keptError(new RpcError('s', 1, 'no', [1]))).toMatchObject({ message: 'no', rpcCode: 1 });
  const outer = keptError(new StartError('s', 'no', { exitCode: 3 }, large)) as StartError;
  expect(outer).toBeInstanceOf(StartError);
  expect([outer.exitCode, (outer.cause as Error).message.length]).toEqual([3, MOST]);
  expect((keptError(new AggregateError([large], 'all')) as AggregateError).errors).toBe(undefined);
  const circle = new Error('c'.repeat(MIB));
  circle.cause = circle;
  expect((keptError(circle) as Error).message).toHaveLength(MOST);
  const hostile = new Proxy(new Error('x'), { get: () => expect.fail('looked at') });
  expect(keptError(hostile)).toBeInstanceOf(Error);
});

test('a breaker keeps little of what failed last', () => {
  const before = collectGarbage();
  const breakers = Array.from({ length: 30 }, (_, n) => {
    const breaker = new CircuitBreaker({ name: `b${n}`, isFailure: () => true });
    breaker.failed(breaker.enter(), new RpcError('s', n, JSON.parse(`"${String(n).padEnd(2 * MIB, 'x')}"`) as string));
    return breaker;
  });
  expect((collectGarbage() - before) / MIB).toBeLessThan(8);
  expect(breakers.map((each) => each.inspect().lastFailure?.length)).toEqual(Array(30).fill(MOST));
});

class Call {
  readonly params = Array.from({ length: 524_288 }, () => 0);
  fail(): unknown {
    return keptError(new Error(`of ${this.params.length}`, { cause: new Error('why') }));
  }
  die(): PartitionHealth<never> {
    const health = new PartitionHealth<never>({} as never);
    health.died(`of ${this.params.length}`);
    return health;
  }
}

test.each([
  ['an error that is kept', () => new Call().fail()],
  ['a partition whose connection died', () => new Call().die()],
])('%s keeps nothing of the calls in which that was', (_, make) => {
  const before = collectGarbage();
  const kept = Array.from({ length: 10 }, make);
  expect((collectGarbage() - before) / MIB).toBeLessThan(20);
  expect(kept).toHaveLength(10);
});

test('what a server writes into an error is kept as its beginning alone, of calls and of starts', async () => {
  const error = { code: -32_602, message: 'm'.repeat(MIB), data: 'd'.repeat(MIB) };
  let starts = true;
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { id = null, method } = JSON.parse(body || '{}') as { id?: number; method?: string };
    const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    if (id === null) return void response.writeHead(202).end();
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ jsonrpc: '2.0', id, ...(method === 'initialize' && starts ? { result } : { error }) }),
    );
  }).listen(0, '127.0.0.1');
  closeAfter({ close: async () => void server.close().closeAllConnections() });
  await expect.poll(() => server.listening).toBe(true);
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  pool.addServer({ name: 'calls', transport: 'http', url, era: 'legacy' });
  await expect(pool.callTool('calls', 'x')).rejects.toMatchObject({ code: 'ERR_RPC', message: error.message });
  expect(pool.stats('calls').lastError).toHaveLength(MOST);
  starts = false;
  pool.addServer({ name: 'starts', transport: 'http', url, era: 'legacy' });
  await expect(pool.callTool('starts', 'x')).rejects.toMatchObject({ code: 'ERR_START_FAILED' });
  expect(pool.stats('starts').lastError).toHaveLength(MOST);
  const again = await pool.callTool('starts', 'x').catch((thrown: unknown) => thrown as StartError);
  expect(again).toMatchObject({ code: 'ERR_BACKING_OFF' });
  expect((again as Error).message.length).toBeLessThan(2 * MOST);
});
