import { expect, test } from 'vitest';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';
import { postTo, responseIn } from '../../support/rawHttp.js';

const INITIALIZE = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 't', version: '1' } };

async function sessionOf(port: number): Promise<string> {
  const first = postTo(port, { id: 0, method: 'initialize', params: INITIALIZE });
  const raw = await first.until((text) => responseIn(text) !== undefined);
  return /mcp-session-id: \S+/i.exec(raw)?.[0] ?? '';
}

test('a wrong id is of a call that was answered, and never that of another client’s call in flight', async () => {
  let end: (text: string) => void = () => undefined;
  const slow = (): Promise<string> =>
    new Promise((resolve) => {
      end = resolve;
    });
  const tools = { quick: { call: async () => 'quick' }, bad: { call: async () => 'bad' }, slow: { call: slow } };
  const plan = { rules: [{ tool: 'bad', fault: 'wrongId' as const }] };
  const server = closeAfter(fakeServer({ tools, plan, sessions: true }));
  const { port } = await server.listen();
  const [one, two] = [await sessionOf(port), await sessionOf(port)];
  const call = (session: string, id: number, name: string) =>
    postTo(port, { id, method: 'tools/call', params: { name } }, [session]);
  const answered = (posted: ReturnType<typeof postTo>) => posted.until((text) => /"id": ?\d+/.test(text));
  await answered(call(one, 5, 'quick'));
  // Clients count by themselves: a call of that id may be on its way from this one.
  expect(await answered(call(two, 4, 'bad'))).not.toMatch(/"id": ?5\b/);
  // This one has a call of the same id in flight.
  const waiting = call(two, 5, 'slow');
  await expect.poll(() => server.events.filter((event) => 'phase' in event && event.phase === 'begin').length).toBe(3);
  expect(await answered(call(two, 6, 'bad'))).not.toMatch(/"id": ?5\b/);
  end('slow');
  expect(await answered(waiting)).toContain('slow');
  expect(await answered(call(two, 7, 'bad'))).toMatch(/"id": ?5\b/);
});
