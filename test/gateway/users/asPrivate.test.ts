import { expect, test } from 'vitest';
import { asPrivate, asPrivateInPieces } from '../../../src/gateway/users/scopes/asPrivate.js';
import { ScopeRules } from '../../../src/gateway/users/scopes/ScopeRules.js';
import { scopedPool } from '../../../src/gateway/users/scopes/scopedPool.js';
import { FakePool } from '../../support/FakePool.js';

const PAGE = '{"contents":[{"cacheScope":"public","n":12345678901234567890}],"cacheScope":"public","ttlMs":5}';
const OWN = PAGE.replace('],"cacheScope":"public"', '],"cacheScope":"private"');
const textOf = (result: unknown): string => Buffer.from(result as Uint8Array).toString();

test('what a server lets all have is told as private where scopes decide who may have it', async () => {
  const access = new ScopeRules({ a: { servers: ['*'], deny: ['two'] } }, undefined).of(['a']);
  const list = '{"tools":[{"name":"one"},{"name":"two"}],"cacheScope":"public"}';
  const fake = new FakePool({
    s: {
      methods: {
        'resources/read': () => Buffer.from(PAGE),
        'tools/list': () => Buffer.from(list),
        'server/discover': () => ({ cacheScope: 'public', n: 1 }),
        'prompts/list': () => Buffer.from('{"prompts":["cacheScope"]}'),
        'tools/call': () => Buffer.from(PAGE),
      },
    },
  });
  const pool = scopedPool(fake, access);
  const asked = async (method: string, params = {}): Promise<string> =>
    textOf(await pool.request('s', method, params, { raw: true }));
  expect(await asked('resources/read')).toBe(OWN);
  expect(JSON.parse(await asked('tools/list'))).toEqual({ tools: [{ name: 'one' }], cacheScope: 'private' });
  expect(await asked('server/discover')).toBe('{"cacheScope":"private","n":1}');
  expect(await asked('prompts/list')).toBe('{"prompts":["cacheScope"]}');
  expect(await asked('tools/call', { name: 'one' })).toBe(PAGE);
  expect(await pool.request('s', 'server/discover')).toEqual({ cacheScope: 'private', n: 1 });
});

test('the same in pieces, wherever they are cut', () => {
  for (let at = 1; at < PAGE.length; at += 7) {
    const out: Buffer[] = [];
    const sink = asPrivateInPieces({ write: (piece) => out.push(piece) > 0 });
    sink.write(Buffer.from(PAGE.slice(0, at)));
    sink.write(Buffer.from(PAGE.slice(at)));
    expect(Buffer.concat(out).toString()).toBe(OWN);
  }
  expect(asPrivate({ n: 1 })).toEqual({ n: 1 });
  // However it is written, a reader takes it for the one that it is told.
  for (const odd of [
    '"cacheScope":"private","cacheScope":"public"',
    '"cacheScop\\u0065":"public"',
    '"cacheScope":"private","cacheScop\\u0065":"public"',
  ]) {
    const told = textOf(asPrivate(Buffer.from(`{${odd},"n":1}`)));
    expect([odd, JSON.parse(told)]).toEqual([odd, { cacheScope: 'private', n: 1 }]);
    const out: Buffer[] = [];
    asPrivateInPieces({ write: (piece) => out.push(piece) > 0 }).write(Buffer.from(`{${odd},"n":1}`));
    expect([odd, JSON.parse(Buffer.concat(out).toString())]).toEqual([odd, { cacheScope: 'private', n: 1 }]);
  }
  const escaped = Buffer.from('{"n":"\\u0041"}');
  expect(asPrivate(escaped)).toBe(escaped);
});

test('a list that would take long to read is refused, since it cannot be looked through', async () => {
  const access = new ScopeRules({ a: { servers: ['*'] } }, undefined).of(['a']);
  const many = Buffer.from(`{"tools":[],"x":[${'[],'.repeat(1_100_000)}[]]}`);
  const fake = new FakePool({ s: { methods: { 'tools/list': () => many } } });
  const list = scopedPool(fake, access).request('s', 'tools/list', {}, { raw: true });
  await expect(list).rejects.toThrow('says more beside its items');
});
