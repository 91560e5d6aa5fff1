import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test, vi } from 'vitest';
import { exportedInterfaces, membersOf } from '../scripts/options/declarations.mjs';
import { NoOpCache } from '../src/toolstore/NoOpCache.js';
import { closeAfter } from './support/closeAfter.js';
import { memoryPool } from './support/memoryPool.js';

/**
 * Whatever is handed to an exported class or function in place of its options, of one of them, or of another part: it is
 * taken, or it is an `OptionError` that names it. A `TypeError` says nothing to the programmer who made a slip.
 */

// All of the package is read here.
vi.setConfig({ testTimeout: 60_000 });

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string; default: string } | string>;
};

const ODD: readonly unknown[] = [
  null,
  5,
  'x',
  true,
  [],
  {},
  () => 1,
  Symbol('s'),
  10n,
  Number.NaN,
  new Map(),
  undefined,
];

/** Those of them that each single option is tried with. */
const ODD_OPTIONS: ReadonlySet<unknown> = new Set([null, 'x', ODD.find((each) => typeof each === 'symbol')]);

/** Made by the toolkit alone: a part hands them out. */
const HANDED_OUT = new Set([
  'BalancerPick',
  'SignIn',
  'ShutdownReport',
  'CallResult',
  'ManagedProcess',
  'ProcessLedger',
  'OpenTelemetry',
]);

/** What comes before the options, and the options without which there are none. */
const GIVEN: Readonly<Record<string, () => readonly unknown[]>> = {
  KeyedPool: () => [{ create: async () => ({}), destroy: async () => undefined }, {}],
  ResourcePool: () => [{ create: async () => ({}), destroy: async () => undefined }, {}],
  Balancer: () => [{ targets: [{ id: 'a', target: 1 }] }],
  BackgroundWorker: () => [{ run: async () => undefined, intervalMs: 60_000 }],
  Bulkhead: () => [{ maxConcurrent: 1 }],
  CircuitBreaker: () => [{ name: 'x' }],
  RateLimiter: () => [{ maxRequests: 1, windowMs: 1 }],
  MultiServerRateLimiter: () => [{ maxRequests: 1, windowMs: 1 }],
  Semaphore: () => [{ permits: 1 }],
  hedge: () => [async () => 1, { after: 1 }],
  Gateway: () => [{ pool: memoryPool().pool }],
  ToolCatalog: () => [{ pool: memoryPool().pool, cache: new NoOpCache() }],
  Instrument: () => [{ pool: memoryPool().pool }],
  audit: () => [{ logger: console }],
  parseConfig: () => ['{}', {}],
  CloseScope: () => ['x', {}],
};

type Callable = (...given: readonly unknown[]) => unknown;

const show = (value: unknown): string =>
  typeof value === 'object' && value !== null
    ? Object.prototype.toString.call(value) + JSON.stringify(value)
    : String(value);

/** What an export made of each odd value that is no `OptionError`. */
async function faultsOf(name: string, make: Callable, options: readonly string[]): Promise<string[]> {
  const faults: string[] = [];
  const tried: Promise<void>[] = [];
  const attempt = (label: string, ...given: readonly unknown[]): void => {
    const fault = (error: unknown): void => {
      if ((error as { code?: unknown } | undefined)?.code !== 'ERR_OPTION')
        faults.push(`${name}(${label}): ${String(error)}`);
    };
    try {
      const made = make(...given);
      if (made instanceof Promise) tried.push(made.then(() => undefined, fault));
      else if (typeof (made as { close?: unknown } | undefined)?.close === 'function') {
        closeAfter({ close: async () => void (await (made as { close(): unknown }).close()) });
      }
    } catch (error) {
      fault(error);
    }
  };
  const given = GIVEN[name]?.() ?? [];
  const last = Math.max(0, given.length - 1);
  const before = given.slice(0, last);
  for (const odd of ODD) {
    attempt(show(odd), odd);
    for (const at of given.keys()) attempt(`${at}: ${show(odd)}`, ...given.with(at, odd));
    // Ranges have their tests in each part's own room.
    if (!ODD_OPTIONS.has(odd)) continue;
    for (const option of options) {
      attempt(`{ ${option}: ${show(odd)} }`, ...before, { ...(given[last] as object), [option]: odd });
    }
  }
  await Promise.all(tried);
  return faults;
}

for (const [subpath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string' || ['.', './errors'].includes(subpath)) continue;
  test(`${subpath}: odd input is an OptionError wherever it is given`, async () => {
    const index = join(root, target.types);
    const interfaces = exportedInterfaces(index);
    const parts = (await import(join(root, target.default))) as Record<string, unknown>;
    const faults: string[] = [];
    for (const [name, part] of Object.entries(parts)) {
      if (typeof part !== 'function' || part.prototype instanceof Error || HANDED_OUT.has(name)) continue;
      const isClass = Function.prototype.toString.call(part).startsWith('class');
      const make: Callable = (...given) =>
        isClass ? Reflect.construct(part, given) : Reflect.apply(part, undefined, given);
      const own = `${name.charAt(0).toUpperCase()}${name.slice(1)}Options`;
      const file = interfaces.find((each) => each.name === own)?.file;
      const options = (file === undefined ? undefined : membersOf(file, own)) ?? [];
      faults.push(
        ...(await faultsOf(
          name,
          make,
          options.map((each) => each.name),
        )),
      );
    }
    expect(faults.join('\n')).toBe('');
  });
}
