import { expect, test, vi } from 'vitest';
import { RequestStates } from '../../../src/gateway/bridge/RequestStates.js';
import { legacyResult, modernResult } from '../../../src/gateway/bridge/resultText.js';
import { rewritten } from '../../../src/gateway/rpc/rewriting/rewritten.js';
import { OwnTasks } from '../../../src/gateway/session/OwnTasks.js';
import { asPrivate } from '../../../src/gateway/users/scopes/asPrivate.js';
import { countTurns } from '../../support/countTurns.js';
import { ownTasks } from '../../support/ownTasks.js';

const MIB = 1_024 * 1_024;
/** Bytes of a result that are gone through in one turn, at the most. */
const TURN_BYTES = 2 * MIB;
const filler = `"x":[${'[],'.repeat(4 * MIB)}0]`;
const STATE = { principal: undefined, server: 's', method: 'tools/call', params: {} };

/** The result of `run`, and whether others had their turns meanwhile. */
async function inTurns(run: () => unknown): Promise<{ readonly text: string; readonly shared: boolean }> {
  using turns = countTurns();
  const bytes = Buffer.from((await run()) as Uint8Array);
  return { text: bytes.toString(), shared: turns.count >= Math.floor(filler.length / TURN_BYTES) };
}

test('a large result is changed in turns of the event loop, whatever it is changed for', async () => {
  const modern = Buffer.from(`{"resultType":"complete",${filler},"ttlMs":5}`);
  const legacy = Buffer.from(`{${filler},"resultType":"odd","n":1}`);
  const asked = Buffer.from(`{"resultType":"input_required",${filler},"requestState":"secret"}`);
  const told = await inTurns(async () => (await legacyResult(modern)).bytes);
  expect([told.text === `{${filler}}`, told.shared]).toEqual([true, true]);
  const completed = await inTurns(() => modernResult('tools/call', legacy));
  expect([completed.text === `{"resultType":"complete",${filler},"n":1}`, completed.shared]).toEqual([true, true]);
  const own = await inTurns(() => asPrivate(Buffer.from(`{${filler},"cacheScope":"public"}`)));
  expect([own.text === `{${filler},"cacheScope":"private"}`, own.shared]).toEqual([true, true]);
  const sealed = await inTurns(() => new RequestStates(undefined).sealed(STATE, asked));
  expect([sealed.text.startsWith(`{"resultType":"input_required",${filler},"requestState":"`), sealed.shared]).toEqual([
    true,
    true,
  ]);
  expect(sealed.text).not.toContain('secret');
});

test('the `_meta` of a modern result is looked through for what a legacy client is not told, unless it is very long', async () => {
  const own = (more: string): Buffer =>
    Buffer.from(`{"content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{},"a":"${more}"}}`);
  expect(String((await legacyResult(own('b'))).bytes)).toBe('{"content":[],"_meta":{"a":"b"}}');
  const long = own('x'.repeat(300_000));
  expect((await legacyResult(long)).bytes).toBe(long);
});

test('a list of tasks that is too large to be read is refused, and a large result makes no task', async () => {
  const tasks = ownTasks();
  const list = Buffer.from(`{"tasks":[],"x":"${'x'.repeat(8 * MIB)}"}`);
  await expect(tasks.filtered('s', { key: 'k' }, list)).rejects.toThrow(/8388608/);
  const session = { key: 'k' };
  tasks.made('s', session, Buffer.from(`{"task":{"taskId":"a"},"x":"${'x'.repeat(8 * MIB)}"}`));
  expect(tasks.has('s', session, 'a')).toBe(false);
});

test('a long list of tasks is looked through in turns of the event loop', async () => {
  const tasks = ownTasks();
  const session = { key: 'k' };
  for (const id of ['1', '70000']) tasks.made('s', session, { task: { taskId: id } });
  const list = Buffer.from(JSON.stringify({ tasks: Array.from({ length: 80_000 }, (_, at) => ({ taskId: `${at}` })) }));
  const has = vi.spyOn(tasks, 'has').mockImplementation((server, of, id) => {
    const untilMs = performance.now() + (Number(id) % 8_000 === 0 ? 2 : 0);
    while (performance.now() < untilMs);
    return OwnTasks.prototype.has.call(tasks, server, of, id);
  });
  using turns = countTurns();
  const own = JSON.parse(Buffer.from((await tasks.filtered('s', session, list)) as Uint8Array).toString());
  expect(own).toEqual({ tasks: [{ taskId: '1' }, { taskId: '70000' }] });
  expect(turns.count).toBeGreaterThan(1);
  has.mockRestore();
});

test('a result of some size that takes long to go through is gone through in turns', async () => {
  const bytes = Buffer.alloc(200 * 1_024, ' ');
  const push = (piece: Buffer): Buffer => {
    const untilMs = performance.now() + 2;
    while (performance.now() < untilMs);
    return piece;
  };
  using turns = countTurns();
  expect(await rewritten(bytes, { changed: false, push })).toBe(bytes);
  expect(turns.count).toBeGreaterThan(1);
});
