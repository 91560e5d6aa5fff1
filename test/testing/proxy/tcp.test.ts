import { beforeEach, expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { FAULT_NAMES, FAULTS } from '../../../src/testing/faults/faultTable.js';
import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import { TcpFaultProxy } from '../../../src/testing/proxy/TcpFaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';
import { LineServer, RawSocket } from '../../support/tcp.js';

let server: LineServer;

beforeEach(async () => {
  server = await LineServer.listen();
});

async function behind(...rules: FaultRule[]) {
  const proxy = closeAfter(await TcpFaultProxy.listen({ upstream: server.address, plan: { rules } }));
  return { proxy, client: new RawSocket(proxy.port) };
}

/** Sends, and waits for so much of an answer. */
async function ask(client: RawSocket, text: string, answered = `<${text}>`): Promise<string> {
  client.send(text);
  return client.until((all) => all.endsWith(answered));
}

/** Every fault of TCP, and what its bytes look like from both sides. */
const CASES: Readonly<Record<string, () => Promise<void>>> = {
  async latency() {
    const { proxy, client } = await behind({ fault: 'latency', nth: 2, delayMs: 60 });
    await ask(client, 'a');
    const askedMs = performance.now();
    await ask(client, 'b');
    // A timer of Node's may come up to a millisecond early.
    expect(performance.now() - askedMs).toBeGreaterThan(58);
    expect([await ask(client, 'c'), server.seen]).toEqual(['<a><b><c>', ['a', 'b', 'c']]);
    expect(proxy.events).toMatchObject([{ type: 'fault', fault: 'latency', rule: 0, method: 'tcp/exchange' }]);
  },
  async bandwidth() {
    const { client } = await behind({ fault: 'bandwidth', bytesPerSec: 1_000, stream: 'upstream' });
    await ask(client, 'x'.repeat(120), '>');
    await client.until((all) => all.replaceAll(/[<>]/g, '').length === 120);
    expect([server.seen.every((piece) => piece.length <= 100), server.seen.join('')]).toEqual([true, 'x'.repeat(120)]);
    expect(server.seen.length).toBeGreaterThan(1);
  },
  async slicer() {
    const { client } = await behind({ fault: 'slicer', bytes: 2, delayMs: 2 });
    await ask(client, 'abcdef');
    expect(client.chunks.length).toBeGreaterThan(1);
    expect(client.chunks.join('')).toBe('<abcdef>');
  },
  async limitData() {
    const { client } = await behind({ fault: 'limitData', bytes: 3, nth: 2 });
    await ask(client, 'a');
    client.send('bcdef');
    expect([await client.over(), client.text]).toEqual(['end', '<a><bc']);
    expect(server.seen).toEqual(['a', 'bcdef']);
  },
  async resetPeer() {
    const { proxy, client } = await behind(
      { fault: 'resetPeer', nth: 2 },
      { fault: 'resetPeer', nth: 3, stream: 'upstream' },
    );
    await ask(client, 'a');
    client.send('b');
    expect([await client.over(), client.text]).toEqual(['ECONNRESET', '<a>']);
    const second = new RawSocket(proxy.port);
    second.send('c');
    expect([await second.over(), second.text]).toEqual(['ECONNRESET', '']);
    // Downstream the server has seen it; upstream it has not.
    expect(server.seen).toEqual(['a', 'b']);
  },
  async timeout() {
    const { client } = await behind({ fault: 'timeout', nth: 2, delayMs: 30 });
    await ask(client, 'a');
    client.send('b');
    expect([await client.over(), client.text, server.seen]).toEqual(['end', '<a>', ['a']]);
  },
  async slowClose() {
    const { proxy, client } = await behind({ fault: 'slowClose', delayMs: 60_000 });
    await ask(client, 'a');
    await client.close();
    expect([server.ends, proxy.plan.counts]).toEqual([[], { slowClose: 1 }]);
  },
  async refuse() {
    const { proxy, client } = await behind({ fault: 'refuse', first: 1 });
    expect(await client.over()).toBe('ECONNRESET');
    expect(await ask(new RawSocket(proxy.port), 'a')).toBe('<a>');
  },
  async slowStart() {
    const { client } = await behind({ fault: 'slowStart', delayMs: 60 });
    const startMs = performance.now();
    await ask(client, 'a');
    expect(performance.now() - startMs).toBeGreaterThan(58);
  },
  async refused() {
    const { proxy, client } = await behind({ fault: 'refused', nth: 2, delayMs: 60_000 });
    await ask(client, 'a');
    client.send('b');
    expect(await client.over()).toBe('ECONNRESET');
    expect(await new RawSocket(proxy.port).over()).toBe('ECONNREFUSED');
    await proxy.up();
    expect(await ask(new RawSocket(proxy.port), 'c')).toBe('<c>');
    expect(server.seen).toEqual(['a', 'c']);
  },
};

test('every fault of TCP has its case', () => {
  expect(Object.keys(CASES).sort()).toEqual(FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('tcp')).sort());
});

for (const [fault, seen] of Object.entries(CASES)) test(`${fault}, as both sides see it`, seen);

test('what no rule is about passes as it came, both ways, at any size, and so do the ends', async () => {
  const { proxy, client } = await behind();
  const large = 'y'.repeat(2 ** 20);
  client.send(large);
  await client.until((all) => all.replaceAll(/[<>]/g, '').length === large.length);
  expect(server.seen.join('')).toBe(large);
  expect(proxy.connections).toBe(1);
  await client.close();
  await expect.poll(() => [proxy.connections, server.ends]).toEqual([0, ['end']]);
});

test('down and up: connections are reset, none is taken, and it comes back on its port; a rule is switched at run time', async () => {
  const { proxy, client } = await behind();
  await ask(client, 'a');
  await proxy.down();
  expect(await client.over()).toBe('ECONNRESET');
  expect(await new RawSocket(proxy.port).over()).toBe('ECONNREFUSED');
  await proxy.up();
  const again = new RawSocket(proxy.port);
  await ask(again, 'b');
  const rule = proxy.plan.add({ fault: 'limitData', bytes: 1 });
  again.send('c');
  await proxy.plan.injected('limitData');
  expect([await again.over(), again.text]).toEqual(['end', '<b><']);
  rule.disable();
  expect(await ask(new RawSocket(proxy.port), 'd')).toBe('<d>');
});

test('faults of messages are none of TCP, and a server that is not there is a reset', async () => {
  const { proxy, client } = await behind({ fault: 'drop' }, { fault: 'crash', method: '*' });
  await ask(client, 'a');
  expect(proxy.plan.total).toBe(0);
  const gone = closeAfter(await TcpFaultProxy.listen({ upstream: 'tcp://127.0.0.1:1' }));
  expect(await new RawSocket(gone.port).over()).toBe('ECONNRESET');
});

test.each(['', 'redis', 'http://127.0.0.1:1', 'tcp://127.0.0.1', 7])('no upstream: %s', async (upstream) => {
  await expect(TcpFaultProxy.listen({ upstream: upstream as string })).rejects.toThrow(OptionError);
});
