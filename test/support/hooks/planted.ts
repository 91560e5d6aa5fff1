import { expect } from 'vitest';
import { CallResult } from '../../../src/connection/calls/CallResult.js';
import type { Middleware } from '../../../src/connection/calls/Middleware.js';
import { MiddlewareChain } from '../../../src/connection/calls/MiddlewareChain.js';
import type { Logger } from '../../../src/core/logger.js';
import type { PoolOptions } from '../../../src/pool/server/options.js';
import type { ServerConfig } from '../../../src/registry/config/ServerConfig.js';
import { memoryPool } from '../memoryPool.js';

/** What the logger was told of planted errors in one scenario. */
export const logged: unknown[] = [];
export const logger = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [
    level,
    (fields: { error?: unknown }) => {
      if (fields?.error instanceof Planted) logged.push(fields.error);
    },
  ]),
) as unknown as Logger;

export class Planted extends Error {}
export const thrower = (): never => {
  throw new Planted('planted');
};
export const rejecter = (): Promise<never> => Promise.reject(new Planted('planted'));
/** Both kinds; what takes a promise takes a throw too. */
export const BOTH = [thrower, rejecter];

export const FAR = { name: 'far', url: 'https://far.example/mcp', auth: { type: 'oauth' } } as const;

/** A list of tools through a chain. */
export const listed = (
  chain: MiddlewareChain,
  end: () => unknown = () => ({ tools: [{ name: 't' }] }),
  method = 'tools/list',
): Promise<CallResult> =>
  chain.run(
    {
      kind: 'request',
      from: 'client',
      server: 's',
      method,
      caller: undefined,
      idempotent: false,
      era: () => undefined,
    },
    { name: 't' },
    {},
    async () => CallResult.of(end()),
  );

/** What a function given to a middleware throws is the failure of the call. */
export async function throughReady(
  make: (fail: () => never) => readonly Middleware[],
  fails: readonly (() => unknown)[] = BOTH,
  end?: () => unknown,
): Promise<void> {
  for (const fail of fails) {
    for (const middleware of make(fail as () => never)) {
      const chain = new MiddlewareChain();
      chain.use(middleware);
      const outcomes = await Promise.allSettled([listed(chain, end), listed(chain, end, 'tools/call')]);
      expect(outcomes.some((each) => each.status === 'rejected' && each.reason instanceof Planted)).toBe(true);
    }
  }
}

/** The error of a call, itself or as a cause of what a caller gets. */
export const planted = (error: unknown): boolean => {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof Planted) return true;
    if (each instanceof AggregateError && each.errors.some(planted)) return true;
  }
  return false;
};
export const failure = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'no failure',
    (error: unknown) => error,
  );

export const SERVER: ServerConfig = { name: 's', transport: 'stdio', command: 'x' };
export const TARGETS = [{ id: 'a', target: 'a' }];
export const FAST = { initialMs: 1, maxMs: 1, jitterRatio: 1 };

/** A call that such an option fails is told why; nothing of it stays in flight. */
export async function poolCall(options: PoolOptions): Promise<void> {
  const { pool, call } = memoryPool(options);
  pool.addServer(SERVER);
  expect(planted(await failure(call('echo')))).toBe(true);
  expect(pool.stats('s')).toMatchObject({ inFlight: 0 });
}
