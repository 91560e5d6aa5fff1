import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { fingerprint } from '../../../src/registry/config/fingerprint.js';
import type { ServerConfig } from '../../../src/registry/config/ServerConfig.js';

const strings = fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 });
const config = fc.record(
  {
    name: fc.string(),
    transport: fc.constant('stdio' as const),
    command: fc.string(),
    args: fc.array(fc.string(), { maxLength: 3 }),
    env: strings,
    cwd: fc.string(),
    maxConcurrent: fc.nat(),
    idleTimeoutMs: fc.constantFrom(1, Number.POSITIVE_INFINITY),
  },
  { requiredKeys: ['name', 'transport', 'command'] },
);

const reversed = <T extends object>(value: T): T => Object.fromEntries(Object.entries(value).reverse()) as T;

test('neither the name, nor the order of keys, nor a written-out default matters', () => {
  fc.assert(
    fc.property(config, fc.string(), (each, name) => {
      const { env } = each;
      const same = reversed({ ...each, name, enabled: true, args: each.args ?? [], env: reversed(env ?? {}) });
      expect(fingerprint(same)).toBe(fingerprint(each));
    }),
  );
});

test('two configs share one only when they run the same', () => {
  const plain = ({ name: _, args = [], env = {}, ...rest }: typeof config extends fc.Arbitrary<infer C> ? C : never) =>
    JSON.stringify({
      rest: Object.entries({ ...rest, idleTimeoutMs: String(rest.idleTimeoutMs) }).sort(),
      args,
      env: Object.entries(env).sort(),
    });
  fc.assert(
    fc.property(config, config, (a, b) => {
      expect(fingerprint(a) === fingerprint(b)).toBe(plain(a) === plain(b));
    }),
  );
});

test('moving a text from one argument, key or field to the next is another server', () => {
  const base = { name: 'a', transport: 'stdio', command: 'c' } as const;
  const variants: ServerConfig[] = [
    base,
    { ...base, args: ['a', 'b'] },
    { ...base, args: ['ab'] },
    { ...base, args: ['a,b'] },
    { ...base, args: ['a","b'] },
    { ...base, env: { a: 'b' } },
    { ...base, env: { ab: '' } },
    { ...base, cwd: 'a' },
    { ...base, inheritEnv: ['a'] },
    { ...base, enabled: false },
    { ...base, idleTimeoutMs: Number.POSITIVE_INFINITY },
    { ...base, sharing: 'leased' },
    { name: 'a', transport: 'http', url: 'http://c' },
    { name: 'a', transport: 'sse', url: 'http://c' },
  ];
  expect(new Set(variants.map(fingerprint)).size).toBe(variants.length);
});

test('header names are the same in any case, and a secret cannot be read back', () => {
  const with_ = (headers: Record<string, string>) =>
    fingerprint({ name: 'a', transport: 'http', url: 'http://h', headers });
  expect(with_({ AUTHORIZATION: 's3cret' })).toBe(with_({ authorization: 's3cret' }));
  expect(with_({ authorization: 's3cret' })).not.toBe(with_({ authorization: 's3creT' }));
  expect(with_({ authorization: 's3cret' })).toMatch(/^[0-9a-f]{32}$/);
});

test('what is inherited by name counts by its value, of targets too: another account is another server', () => {
  const target = { command: 'serve', inheritEnv: ['ACCOUNT', 'UNSET'] } as const;
  const configs = [
    { name: 'a', transport: 'stdio', ...target },
    { name: 'a', targets: [target, { command: 'other' }] },
  ] as const;
  const prints = (account: string): string[] => {
    vi.stubEnv('ACCOUNT', account);
    return configs.map(fingerprint);
  };
  const alice = prints('alice');
  expect(prints('alice')).toEqual(alice);
  for (const [at, print] of prints('bob').entries()) expect(print).not.toBe(alice[at]);
  vi.unstubAllEnvs();
});
