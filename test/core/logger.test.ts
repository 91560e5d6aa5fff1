import { expect, test, vi } from 'vitest';
import { guardedLogger, type Logger, silentLogger } from '../../src/core/logger.js';
import { withDefaults } from '../../src/core/options.js';
import { ShutdownPlan } from '../../src/shutdown/ShutdownPlan.js';
import { MEMORY, memoryPool } from '../support/memoryPool.js';

const logger = (line: (...given: unknown[]) => unknown): Logger =>
  ({ trace: line, debug: line, info: line, warn: line, error: line }) as unknown as Logger;

test('a logger that throws or rejects harms nothing, and is told once', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const throwing = logger(() => {
    throw new Error('disk full');
  });
  const rejecting = logger(async () => {
    throw new Error('no socket');
  });
  for (const each of [throwing, rejecting]) {
    const plan = new ShutdownPlan({ logger: each });
    plan.add('a', () => undefined);
    expect((await plan.shutdown()).ok).toBe(true);
  }
  // A rejection that is not handled would be told in the next turn.
  await new Promise((resolve) => setImmediate(resolve));
  expect(warned.mock.calls).toEqual([
    ['a logger failed, its lines are lost: disk full'],
    ['a logger failed, its lines are lost: no socket'],
  ]);
  warned.mockRestore();
});

test('a guarded logger calls the methods as they are at each line, on the logger itself', () => {
  const lines: unknown[] = [];
  const given = {
    ...logger(() => undefined),
    name: 'own',
    info(this: { name: string }, ...line: unknown[]): void {
      lines.push(this.name, ...line);
    },
  };
  const { logger: taken } = withDefaults('part', { logger: given as Logger }, {}, { logger: true });
  taken?.info({ a: 1 }, 'first');
  given.info = (...line): void => void lines.push('other', ...line);
  taken?.info('second');
  expect(lines).toEqual(['own', { a: 1 }, 'first', 'other', 'second']);
  expect(guardedLogger(given as Logger)).toBe(taken);
  expect(guardedLogger(taken as Logger)).toBe(taken);
  expect(guardedLogger(silentLogger)).toBe(silentLogger);
});

test('lines of a pool that servers and callers bring about are 20 of a kind and server in 10 s', async () => {
  const lines: object[] = [];
  const { pool, connector, clock } = memoryPool({ logger: logger((fields) => lines.push(fields as object)) });
  for (const name of ['a', 'b']) pool.addServer({ ...MEMORY, name });
  // Its pages come twice.
  connector.onMessage = ({ id }, connection) =>
    connection.answer(id as number, { tools: [{ name: 'x', inputSchema: {} }], nextCursor: 'more' });
  for (let i = 0; i < 50; i++) await pool.listAll('a', 'tools');
  await pool.listAll('b', 'tools');
  expect(lines).toHaveLength(21);
  await clock.advance(10_000);
  await pool.listAll('a', 'tools');
  expect(lines.at(-1)).toMatchObject({ server: 'a', dropped: 30 });
});
