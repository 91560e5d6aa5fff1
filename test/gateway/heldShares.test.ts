import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { Frame } from '../../src/gateway/http/stream/Frame.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import type { RequestOptions } from '../../src/pool/McpPool.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

/** What is held has shares: one user, or address, leaves room to others whatever its calls, bodies and answers wait for. */

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
      .on('response', (incoming) => incoming.resume().statusCode === 429 && resolve(false))
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
  expect(held.takeFor('c', 60)).toBe(true);
  expect(held.takeFor('a', 20)).toBe(true);
  expect(held.takeFor('a', 20)).toBe(false);
  // Its share is full, and room is left; with all of it taken, who holds little is told so.
  expect([held.refusalOf('a'), held.refusalOf('b')]).toEqual([429, 503]);
  expect(held.takeFor('b', 20)).toBe(true);
  held.giveBackFor('a', 20);
  held.giveBackFor('b', 20);
  held.giveBackFor('c', 60);
  expect(held.takeFor('a', 100)).toBe(true);
});

const MAX = 4_096 * KIB;
/** What each answer of `big` brings. */
const BIG = 300 * KIB;

/** A gateway that tells clients apart by their addresses, and a client of 127.0.0.1. */
async function ofAddresses(): Promise<{ readonly own: Gateway; readonly victim: RawClient; readonly port: number }> {
  const call = (params: { readonly name?: string } | undefined, { onNotification }: RequestOptions): unknown => {
    if (params?.name === 'hang') return new Promise(() => undefined);
    if (params?.name === 'told')
      onNotification?.({ method: 'notifications/message', params: { level: 'info', data: 1 } });
    return { content: [], pad: 'x'.repeat(BIG) };
  };
  const own = new Gateway({
    pool: new FakePool({ one: { methods: { 'tools/call': call } } }),
    port: 0,
    maxBufferedBytes: MAX,
  });
  const { url, port } = await own.listen();
  const victim = new RawClient(`${url}/servers/one/mcp`);
  await victim.initialize();
  return { own, victim, port };
}

function posted(message: object, accept: string, session: string): string {
  const body = JSON.stringify(message);
  const lines = ['content-type: application/json', `accept: ${accept}`, `content-length: ${body.length}`];
  return `POST /servers/one/mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: ${session}\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
}

test.each([
  ['answers', 'big'],
  ['streams of events', 'told'],
])('so do %s that their client does not take: another address has its own', async (_, name) => {
  const { own, victim, port } = await ofAddresses();
  const sockets: Socket[] = [];
  try {
    const greedy = new RawClient(victim.url);
    await greedy.initialize();
    const both = 'application/json, text/event-stream';
    const call = (tool: string): string => posted({ ...hanging(0), params: { name: tool } }, both, greedy.sessionId);
    for (let at = 0; at < 10; at++) {
      const { requests } = own.stats;
      const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.9' }).on('error', () => undefined);
      sockets.push(socket);
      // What comes behind a call that hangs cannot leave.
      socket.write(['hang', name, name, name].map(call).join(''));
      await expect.poll(() => own.stats.requests === requests + 4 || socket.destroyed).toBe(true);
    }
    expect((await victim.call('tools/call', { name: 'big' })).result).toMatchObject({ content: [] });
    expect(own.stats.heldBytes).toBeGreaterThan(MAX / 2);
    const answer = await victim.send({ ...hanging(BIG / 10), params: { name: 'big', pad: 'x'.repeat(BIG / 10) } });
    expect([answer.status, answer.messages[0]?.error]).toEqual([200, undefined]);
  } finally {
    for (const socket of sockets) socket.destroy();
    await own.close({ graceMs: 0 });
  }
  await expect.poll(() => own.stats.heldBytes).toBe(0);
});

test('a client that is alone gets an answer that takes nearly all', async () => {
  const { own, victim } = await ofAddresses();
  await own.close({ graceMs: 0 });
  const call = (): unknown => ({ content: [], pad: 'x'.repeat(0.95 * MAX) });
  const pool = new FakePool({ one: { methods: { 'tools/call': call } } });
  const wide = new Gateway({ pool, port: 0, maxBufferedBytes: MAX });
  const client = new RawClient(victim.url.replace(/^http:..[^/]+/, (await wide.listen()).url));
  await client.initialize();
  expect((await client.call('tools/call', { name: 'x' })).result).toMatchObject({ content: [] });
  await wide.close({ graceMs: 0 });
});

test('a message for readers of several owners is none’s, and what only is kept gives way', () => {
  const held = new HeldBytes(1_000);
  const frame = new Frame('x'.repeat(432));
  const { heldBytes } = frame;
  expect(frame.hold(held, 'a', true)).toBe(true);
  // Its share is taken.
  expect(held.takeFor('a', 300)).toBe(false);
  expect(frame.hold(held, 'b')).toBe(true);
  expect(held.takeFor('a', 300)).toBe(true);
  held.giveBackFor('a', 300);
  frame.release(held);
  frame.spare(held);
  expect(held.held).toBe(heldBytes);
  expect(held.takeFor('b', 1_000)).toBe(false);
  // Its client is back, and holds it once more.
  expect(frame.hold(held, 'a')).toBe(true);
  expect(held.takeFor('a', 300)).toBe(false);
  frame.release(held);
  expect(held.takeFor('a', 300)).toBe(true);
  held.giveBackFor('a', 300);
  frame.drop(held);
  expect(held.held).toBe(0);
  for (const owner of ['a', 'b', 'c']) {
    expect(held.takeFor(owner, 1_000)).toBe(true);
    held.giveBackFor(owner, 1_000);
  }
});
