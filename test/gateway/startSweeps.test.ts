import { expect, test } from 'vitest';
import type { CloseScope } from '../../src/core/close/CloseScope.js';
import { type Swept, startSweeps } from '../../src/gateway/session/startSweeps.js';
import { countTurns } from '../support/countTurns.js';

test('streams for long calls are opened, and heartbeats sent, in turns of the event loop', async () => {
  using turns = countTurns();
  let taken: number[] = [];
  const step = (): void => {
    taken.push(turns.count);
    for (const untilMs = performance.now() + 0.5; performance.now() < untilMs; );
  };
  const session = { heartbeat: step, replies: Array.from({ length: 100 }, () => ({ tick: step, heartbeat: step })) };
  const runs = new Map<string, () => Promise<void> | void>();
  const scope = { every: (name: string, _: number, run: () => void) => void runs.set(name, run) };
  const swept = {
    sessions: [session],
    modern: { ...session, replies: [] },
    sse: undefined,
    sessionIdleMs: 1,
    heartbeatMs: 1,
  };
  startSweeps(scope as unknown as CloseScope, swept as unknown as Swept);
  for (const [name, count] of [
    ['streams for long calls', 100],
    ['heartbeat', 102],
  ] as const) {
    taken = [];
    await runs.get(name)?.();
    expect(taken).toHaveLength(count);
    expect(new Set(taken).size).toBeGreaterThan(2);
  }
});
