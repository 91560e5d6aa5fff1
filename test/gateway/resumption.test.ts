import { expect, test, vi } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { dualEraConfig, dualEraGateway } from '../support/dualEra.js';
import { exchange, RawClient } from '../support/httpClient.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

/** What came of a response before it was cut, at the first text that `until` finds. */
async function readUntil(response: Response, control: AbortController, until: RegExp): Promise<string> {
  const decoder = new TextDecoder();
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  // Its end is this function's doing.
  reader.closed.catch(() => undefined);
  let text = '';
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    text += decoder.decode(next.value, { stream: true });
    if (until.test(text)) break;
  }
  control.abort();
  return text;
}

const idsIn = (text: string): string[] => [...text.matchAll(/^id: (.+)$/gm)].map((hit) => hit[1] as string);

/** Calls a slow tool, waits until its answer is a stream, and loses that stream. */
async function cutCall(client: RawClient, clock: FakeClock, ms: number): Promise<string> {
  const control = new AbortController();
  const params = { name: 'test_slow', arguments: { ms } };
  let response: Response | undefined;
  const fetched = fetch(client.url, {
    method: 'POST',
    signal: control.signal,
    headers: { ...client.headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 77, method: 'tools/call', params }),
  }).then((got) => {
    response = got;
  });
  while (response === undefined) {
    await clock.advance(2_500);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await fetched;
  return readUntil(response, control, /data:\n\n/);
}

const resume = (client: RawClient, eventId: string) =>
  exchange(client.url, {
    method: 'GET',
    headers: { ...client.headers, accept: 'text/event-stream', 'last-event-id': eventId },
  });

test('the answer of a call whose stream was cut comes to the client that resumes it, before it is there and after', async () => {
  const clock = new FakeClock();
  const { path } = await dualEraGateway(await dualEraConfig('stdio'), { clock });
  const client = new RawClient(path);
  await client.initialize('2025-11-25', {});
  const text = await cutCall(client, clock, 1_500);
  expect(text).toMatch(/^retry: \d+$/m);
  const [primed = ''] = idsIn(text);
  const resumed = await resume(client, primed);
  expect(resumed.status).toBe(200);
  expect(resumed.messages).toMatchObject([{ id: 77, result: { content: [{ text: 'after 1500 ms' }] } }]);
  const again = await resume(client, primed);
  expect(again.messages).toEqual(resumed.messages);
  const behind = await resume(client, idsIn(resumed.text).at(-1) ?? '');
  expect(behind.messages).toEqual([]);
});

test('a stream is resumed by its own session alone, and one that is not known is refused', async () => {
  const clock = new FakeClock();
  const { path } = await dualEraGateway(await dualEraConfig('stdio'), { clock });
  const [client, other] = [new RawClient(path), new RawClient(path)];
  await Promise.all([client.initialize('2025-11-25', {}), other.initialize('2025-11-25', {})]);
  const [primed = ''] = idsIn(await cutCall(client, clock, 200));
  expect((await resume(other, primed)).status).toBe(400);
  expect((await resume(client, 'c999_1')).status).toBe(400);
  expect((await resume(client, '__proto__')).status).toBe(400);
  expect((await resume(client, primed)).messages).toHaveLength(1);
});

test('what a session missed of its own stream comes when it is resumed', async () => {
  const { path } = await dualEraGateway(await dualEraConfig('stdio'));
  const client = new RawClient(path);
  await client.initialize('2025-11-25', {});
  const open = async (headers: object, until: RegExp): Promise<string> => {
    const control = new AbortController();
    const all = { ...client.headers, accept: 'text/event-stream', ...headers };
    return readUntil(await fetch(path, { headers: all, signal: control.signal }), control, until);
  };
  const change = (kind: string) => client.call('tools/call', { name: `test_trigger_${kind}_change`, arguments: {} });
  const first = open({}, /list_changed/);
  // The stream may not be open yet when the first change is told.
  const again = setInterval(() => void change('tool'), 200);
  const seen = await first.finally(() => clearInterval(again));
  await change('prompt');
  // The server tells of it in its own time.
  const missed = await open({ 'last-event-id': idsIn(seen).at(-1) }, /prompts.list_changed/);
  expect(missed).toContain('notifications/prompts/list_changed');
});
