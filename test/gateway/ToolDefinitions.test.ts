import type { Tool } from '@modelcontextprotocol/client';
import { expect, test } from 'vitest';
import { AcquireTimeoutError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import { ToolDefinitions } from '../../src/gateway/modern/ParamChecks.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const tool = (name: string): Tool => ({ name, inputSchema: { type: 'object' } });

/** A list that is answered by hand, and how often it was asked for. */
function listOf(name: string) {
  const answers: (() => void)[] = [];
  const list = (): Promise<Tool[]> => new Promise((resolve) => answers.push(() => resolve([tool(name)])));
  return { list, answers };
}

test('changes of one server’s tools have no other’s read again; its own list that was being read meanwhile is not kept', async () => {
  const tools = new ToolDefinitions(silentLogger);
  const [quiet, loud] = [listOf('a'), listOf('b')];
  const readings = [tools.get('quiet', 'a', quiet.list), tools.get('loud', 'b', loud.list)];
  tools.forget('loud');
  for (const { answers } of [quiet, loud]) answers[0]?.();
  expect(await Promise.all(readings)).toMatchObject([{ name: 'a' }, { name: 'b' }]);
  expect(await tools.get('quiet', 'a', quiet.list)).toMatchObject({ name: 'a' });
  const again = tools.get('loud', 'b', loud.list);
  expect([quiet.answers.length, loud.answers.length]).toEqual([1, 2]);
  loud.answers[1]?.();
  expect(await again).toMatchObject({ name: 'b' });
});

test('a call whose list has waited for a slot as long as a call may waits for none itself; one that came later does', async () => {
  const clock = new FakeClock();
  const tools = new ToolDefinitions(silentLogger, clock);
  const full = { live: 1, creating: 0, dying: 0, slots: 1, inUse: 1, waiting: 1 };
  let refuse = (): void => undefined;
  const list = (): Promise<Tool[]> =>
    new Promise((_, reject) => {
      refuse = () => reject(new AcquireTimeoutError('s', 30_000, full));
    });
  const first = tools.get('s', 'a', list);
  first.catch(() => undefined);
  await clock.advance(10_000);
  const later = tools.get('s', 'a', list);
  await clock.advance(20_000);
  refuse();
  await expect(first).rejects.toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT' });
  expect(await later).toBeUndefined();
});

test('a call that ends waits for the list no longer; when none waits, the reading ends', async () => {
  const tools = new ToolDefinitions(silentLogger);
  let ended = false;
  const list = (signal: AbortSignal): Promise<Tool[]> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        ended = true;
        reject(signal.reason);
      });
    });
  const controllers = [new AbortController(), new AbortController()] as const;
  const calls = controllers.map(({ signal }) => tools.get('s', 'a', list, signal));
  controllers[0].abort();
  expect([await calls[0], ended]).toEqual([undefined, false]);
  controllers[1].abort();
  expect([await calls[1], ended]).toEqual([undefined, true]);
});

test('for a caller that the known tools do not fit they are read again, once in a while, and stand for all others meanwhile', async () => {
  const clock = new FakeClock();
  const tools = new ToolDefinitions(silentLogger, clock);
  const { list, answers } = listOf('a');
  const first = tools.get('s', 'a', list);
  await clock.advance(300);
  answers[0]?.();
  expect(await first).toMatchObject({ name: 'a' });
  // Read just now, in 300 ms: no sooner than in ten times of that.
  await clock.advance(2_999);
  expect(await tools.again('s', 'a', list)).toBeUndefined();
  tools.doubt('s');
  expect(await tools.get('s', 'a', list)).toMatchObject({ name: 'a' });
  expect(answers).toHaveLength(1);
  await clock.advance(1);
  const unfit = [tools.again('s', 'a', list), tools.again('s', 'b', list)];
  expect(await tools.get('s', 'a', list)).toMatchObject({ name: 'a' });
  expect(answers).toHaveLength(2);
  answers[1]?.();
  expect(await Promise.all(unfit)).toMatchObject([{ name: 'a' }, undefined]);
  await clock.advance(1_000);
  tools.doubt('s');
  void tools.get('s', 'a', list);
  expect(answers).toHaveLength(3);
});

test('the tools of all users have their part of what lists may take: those used least lately are read again', async () => {
  // Counted as two bytes a character, of memory that all of them share.
  const large: Tool = { ...tool('a'), description: 'x'.repeat(4 * 1_024 * 1_024) };
  let asked = 0;
  const list = async (): Promise<Tool[]> => {
    asked++;
    return [large];
  };
  const users = Array.from({ length: 30 }, () => new ToolDefinitions(silentLogger));
  for (const each of users) expect(await each.get('s', 'a', list)).toBe(large);
  expect(await users.at(-1)?.get('s', 'a', list)).toBe(large);
  expect(asked).toBe(30);
  expect(await users[0]?.get('s', 'a', list)).toBe(large);
  expect(asked).toBe(31);
  for (const each of users) each.forget('s');
});
