import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { TYPES } from './support/exportedTypes.js';
import { concurrentHooks } from './support/hooks/concurrentHooks.js';
import { gatewayHooks } from './support/hooks/gatewayHooks.js';
import { partHooks } from './support/hooks/partHooks.js';
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
  ...partHooks,
};

/** What users implement or are handed, and what no input of a peer reaches: not hooks of a call. */
const NOT_HOOKS: ReadonlySet<string> = new Set([
  ...['BulkheadPermit', 'CloseHooks', 'Closeable', 'ConnectRequest', 'ConnectionLease'],
  ...['Clock', 'Timer', 'FlightEntry', 'Lease', 'LoadContext', 'RedisLike', 'ServerHandle', 'Subscription'],
  // Its calls: `GatewayOptions.pool`.
  'McpPool',
  // Called by what a user calls, whose own error that is.
  ...['PrometheusRegistry', 'TracedRequest'],
  // What it throws: test/gateway/resumption.test.ts.
  'EventStore',
  'ReplayReader',
  // What it throws: test/gateway/replicas/replicas.test.ts.
  'ReplicaLink',
]);

/** Types of the same names as exported ones. */
const INTERNAL = /protocol\/listen\.ts$|InboundRouter\.ts$|redisConnection\.ts$|^gateway\/endpoint\//;

/** Parts that are handed in and are classes of the toolkit's own: their methods are no one else's. */
const OWN_PARTS: ReadonlySet<string> = new Set([
  ...['plan', 'gateway', 'health', 'oauth', 'instrument', 'inFlight', 'lifecycle'],
  // Of node:http, and of prom-client.
  ...['server', 'registry'],
]);

const SRC = resolve(import.meta.dirname, '../src');
/** The text of each file that a user's functions may reach, without comments and what is marked as internal. */
const texts = (): string[] =>
  readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !/^(bench|testing|cli)\//.test(file) && !INTERNAL.test(file))
    .map((file) => readFileSync(join(SRC, file), 'utf8'))
    .map((text) => text.replace(/\/\*\* @internal.*\*\/\n.*\n/g, '').replace(/\/\*[\s\S]*?\*\//g, ''));
const isPlanted = (type: string, hook: string): boolean =>
  Object.keys(HOOKS).some((each) => each.startsWith(type) && each.includes(hook));

test.each(Object.entries(HOOKS))('a throw in %s', async (_, run) => {
  await run();
});

test('every function that an exported type takes is among them', () => {
  const exported = new Set(
    Object.entries(TYPES).flatMap(([subpath, names]) => (['./bench', './testing'].includes(subpath) ? [] : names)),
  );
  const missing: string[] = [];
  let seen = 0;
  for (const text of texts()) {
    for (const [, name = '', body = ''] of text.matchAll(/export interface (\w+)[^{]*\{\n([\s\S]*?)\n\}/g)) {
      if (!exported.has(name) || NOT_HOOKS.has(name)) continue;
      for (const [, hook = ''] of body.matchAll(/^ {2}(?:readonly )?(\w+)\??(?:: \(*\([^)]*\) =>|\()/gm)) {
        seen++;
        if (!isPlanted(name, hook)) missing.push(`${name}.${hook}`);
      }
    }
  }
  expect(seen).toBeGreaterThan(8);
  expect(missing).toEqual([]);
});

test('and so is every part that is called by its methods', () => {
  const parts = texts().flatMap((text) =>
    [...text.matchAll(/checkPart\(\s*'(\w+)'/g)].map(([, option = '']) => option),
  );
  expect(parts.length).toBeGreaterThan(8);
  const named = (option: string): boolean =>
    Object.keys(HOOKS).some((each) => new RegExp(`${option}\\b`, 'i').test(each));
  expect(parts.filter((option) => !OWN_PARTS.has(option) && !named(option))).toEqual([]);
});
