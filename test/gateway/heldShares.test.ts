import { request } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

/** What bodies and calls hold has shares: one user, or address, leaves room to others whatever its calls and bodies wait for. */

const KIB = 1_024;
const ALICE = 'a-token-of-alice-0123456789';
const BOB = 'a-token-of-bob-0123456789';
let gateway: Gateway;
let waiting: (() => void)[];
let alice: RawClient;
let bob: RawClient;

const client = (url: string, token: string): RawClient => new RawClient(url, { authorization: `Bearer ${token}` });
let id = 0;
const hanging = (bytes: number) => ({
  jsonrpc: '2.0',
  id: ++id,
  method: 'tools/call',
  params: { name: 'x', arguments: { pad: 'x'.repeat(bytes) } },
});

beforeEach(async () => {
  waiting = [];
  const call = (params: { readonly name?: string } | undefined): unknown =>
    params?.name === 'x'
      ? new Promise((done) => waiting.push(() => done({ content: [] })))
      : { content: [{ type: 'text', text: 'hi' }] };
  const pool = new FakePool({ one: { methods: { 'tools/call': call as never } } });
  const authenticate = bearerTokens({ [ALICE]: 'alice', [BOB]: 'bob' });
  gateway = new Gateway({ pool, port: 0, authenticate, maxBufferedBytes: 640 * KIB });
  const url = `${(await gateway.listen()).url}/servers/one/mcp`;
  alice = client(url, ALICE);
  bob = client(url, BOB);
  await alice.initialize();
  await bob.initialize();
});

afterEach(() => gateway.close({ graceMs: 0 }));

/** Begins a request of alice's, with so much of its body, and goes on once it is refused, or `taken`: whether it was. */
function begin(body: string, taken: () => boolean, length = body.length): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { ...alice.headers, 'content-length': length };
    const outgoing = request(alice.url, { method: 'POST', agent: false, headers });
    outgoing
      .on('response', (incoming) => incoming.resume().statusCode === 503 && resolve(false))
      .on('error', () => undefined);
    outgoing.write(body);
    const look = (): void => {
      if (taken()) resolve(true);
      else if (!outgoing.destroyed) setImmediate(look);
    };
    look();
  });
}

const called = (bytes: number): Promise<boolean> => {
  const before = waiting.length;
  return begin(JSON.stringify(hanging(bytes)), () => waiting.length > before);
};

test('calls of one user that hang, also when it has left, leave room for others', async () => {
  for (const bytes of [40 * KIB, 8 * KIB, KIB, 1]) {
    let taken = true;
    while (taken) taken = await called(bytes);
  }
  expect(gateway.stats.heldBytes).toBeLessThan((3 / 4) * 640 * KIB + 1);
  expect(gateway.stats.heldBytes).toBeGreaterThan((3 / 4) * 600 * KIB);
  expect(await bob.call('tools/call', { name: 'y', arguments: {} })).toMatchObject({ result: {} });
  expect((await bob.send({ ...hanging(16 * KIB), params: { name: 'y', pad: 'x'.repeat(16 * KIB) } })).status).toBe(200);
  for (const done of waiting.splice(0)) done();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('so do bodies that do not end', async () => {
  let taken = true;
  while (taken) {
    const before = gateway.stats.heldBytes;
    taken = await begin('x'.repeat(40 * KIB), () => gateway.stats.heldBytes >= before + 40 * KIB, 100 * KIB);
  }
  expect(gateway.stats.heldBytes).toBeGreaterThan((3 / 4) * 480 * KIB);
  expect(await bob.call('tools/call', { name: 'y', arguments: {} })).toMatchObject({ result: {} });
});

test('what is all that its owner has may take all that is free', () => {
  const held = new HeldBytes(100);
  expect(held.takeFor('a', 60)).toBe(true);
  expect(held.takeFor('a', 40, 60)).toBe(true);
  expect(held.takeFor('b', 1)).toBe(false);
  held.giveBackFor('a', 100);
  expect(held.take(60)).toBe(true);
  expect(held.takeFor('a', 20)).toBe(true);
  // What no one in particular holds is not free either.
  expect(held.takeFor('a', 20)).toBe(false);
  expect(held.takeFor('b', 20)).toBe(true);
  held.giveBackFor('a', 20);
  held.giveBackFor('b', 20);
  held.giveBack(60);
  expect(held.takeFor('a', 100)).toBe(true);
});
