import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { TYPES } from './support/exportedTypes.js';
import { concurrentHooks } from './support/hooks/concurrentHooks.js';
import { gatewayHooks } from './support/hooks/gatewayHooks.js';
import { logged } from './support/hooks/planted.js';
import { poolHooks } from './support/hooks/poolHooks.js';
import { shutdownHooks } from './support/hooks/shutdownHooks.js';

/**
 * A throw in every function that a user can hand in: it is an error of that one call, or it is logged; it is never unhandled,
 * and the part goes on working.
 */

const unhandled: unknown[] = [];
const note = (error: unknown): void => void unhandled.push(error);

beforeAll(() => {
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
});
afterAll(() => {
  process.off('unhandledRejection', note);
  process.off('uncaughtException', note);
});
afterEach(async () => {
  for (let i = 0; i < 3; i++) await new Promise((done) => setImmediate(done));
  expect(unhandled.splice(0)).toEqual([]);
  logged.length = 0;
});

const HOOKS: Readonly<Record<string, () => unknown>> = {
  ...concurrentHooks,
  ...poolHooks,
  ...gatewayHooks,
  ...shutdownHooks,
};

/** What users implement or are handed, and what no input of a peer reaches: not hooks of a call. */
const NOT_HOOKS: ReadonlySet<string> = new Set([
  ...['BulkheadPermit', 'CloseHooks', 'Closeable', 'ConnectRequest', 'Connection', 'ConnectionLease', 'Connector'],
  ...['Clock', 'Timer', 'FlightEntry', 'Lease', 'LoadContext', 'McpPool', 'RedisLike', 'ServerHandle', 'Subscription'],
  ...['ToolStore', 'EraStore', 'Limiter', 'LimiterSource', 'PrometheusRegistry', 'TracedRequest'],
  // What it throws: test/gateway/resumption.test.ts.
  'EventStore',
  'ReplayReader',
  // What it throws: test/gateway/replicas/replicas.test.ts.
  'ReplicaLink',
]);

/** Types of the same names as exported ones. */
const INTERNAL = /protocol\/listen\.ts$|InboundRouter\.ts$|^gateway\/endpoint\//;

test.each(Object.entries(HOOKS))('a throw in %s', async (_, run) => {
  await run();
});

test('every function that an exported type takes is among them', () => {
  const exported = new Set(
    Object.entries(TYPES).flatMap(([subpath, names]) => (['./bench', './testing'].includes(subpath) ? [] : names)),
  );
  const src = resolve(import.meta.dirname, '../src');
  const missing: string[] = [];
  let seen = 0;
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || /^(bench|testing|cli)\//.test(file) || INTERNAL.test(file)) continue;
    const text = readFileSync(join(src, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    for (const [, name = '', body = ''] of text.matchAll(/export interface (\w+)[^{]*\{\n([\s\S]*?)\n\}/g)) {
      if (!exported.has(name) || NOT_HOOKS.has(name)) continue;
      for (const [, hook = ''] of body.matchAll(/^ {2}(?:readonly )?(\w+)\??(?:: \(*\([^)]*\) =>|\()/gm)) {
        seen++;
        if (!Object.keys(HOOKS).some((each) => each.startsWith(name) && each.includes(hook)))
          missing.push(`${name}.${hook}`);
      }
    }
  }
  expect(seen).toBeGreaterThan(8);
  expect(missing).toEqual([]);
});
