import { expect, test } from 'vitest';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeTool } from '../../../src/testing/fake/FakeServerOptions.js';
import { closeAfter } from '../../support/closeAfter.js';
import { postTo, responseIn } from '../../support/rawHttp.js';

/** A fake server says that it was told of a cancel when it was told, whatever its tool is doing. */

const INITIALIZE = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } };

async function cancelled(tool: FakeTool, at: string) {
  const server = closeAfter(fakeServer({ tools: { tool } }));
  const { port } = await server.listen();
  const first = postTo(port, { id: 0, method: 'initialize', params: INITIALIZE });
  const raw = await first.until((text) => responseIn(text) !== undefined);
  const session = /mcp-session-id: \S+/i.exec(raw)?.[0] ?? '';
  const call = postTo(port, { id: 1, method: 'tools/call', params: { name: 'tool' } }, [session]);
  await call.until((text) => text.includes(at));
  const params = { requestId: 1 };
  const notice = postTo(port, { method: 'notifications/cancelled', params }, [session]);
  await notice.until((text) => text.includes(' 202 '));
  return { call, phases: () => server.events.map((event) => 'phase' in event && event.phase) };
}

test('a call that asked its client, which never answers, is told of its cancel', async () => {
  const { phases } = await cancelled({ asks: 'roots/list' }, 'roots/list');
  expect(phases()).toEqual(['begin', 'cancelled']);
});

test('a call whose work does not listen is told of its cancel, once, and is not answered', async () => {
  let end: (text: string) => void = () => undefined;
  const work = (_: object, { notify }: { notify(method: string): void }): Promise<string> => {
    notify('notifications/begun');
    return new Promise((resolve) => {
      end = resolve;
    });
  };
  const { call, phases } = await cancelled({ call: work }, 'notifications/begun');
  expect(phases()).toEqual(['begin', 'cancelled']);
  end('too late');
  await new Promise((resolve) => setImmediate(resolve));
  expect(phases()).toEqual(['begin', 'cancelled']);
  expect(call.text).not.toContain('too late');
});
