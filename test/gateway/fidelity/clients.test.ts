import { expect, test, vi } from 'vitest';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { compare } from './clients/compare.js';
import type { ClientKind, Face } from './clients/Face.js';
import { SDK_V1 } from './clients/kinds/sdkV1.js';
import { SDK_V2 } from './clients/kinds/sdkV2.js';
import { LASTING, runLasting, runSteps } from './clients/run.js';
import { STEPS } from './clients/steps.js';
import { startTargets, type Target, type Targets } from './clients/targets.js';

/**
 * The official clients do all that they can, straight at a server of both eras and through the gateway, and what they see
 * is compared field by field. This is the short form, where each client and each way is there at least once; `npm run
 * clients` has all of them, with the Inspector and mcp-remote, on the machine's own clock.
 */

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const [LEGACY, AUTO, PINNED] = SDK_V2 as [ClientKind, ClientKind, ClientKind];

const RUNS: readonly (readonly [string, ClientKind])[] = [
  ['HTTP, shared', SDK_V1],
  ['HTTP, bound', PINNED],
  ['stdio, shared', AUTO],
  ['stdio, bound', LEGACY],
  ['all under /mcp', AUTO],
];

const targetsBy = async (clock: FakeClock): Promise<Targets & { of(name: string): Target }> => {
  const targets = closeAfter(await startTargets(clock));
  const of = (name: string): Target => {
    const target = targets.through.find((each) => each.name === name);
    if (target === undefined) throw new Error(`no target ${name}`);
    return target;
  };
  return { ...targets, of };
};

test('what official clients see through the gateway is what they see straight, field by field', async () => {
  const targets = await targetsBy(new FakeClock());
  const context = { pass: async (): Promise<void> => undefined };
  const straight = new Map(
    await Promise.all(
      [SDK_V1, ...SDK_V2].map(
        async (kind) => [kind, await runSteps(kind, targets.straight, { label: kind.name, ...context })] as const,
      ),
    ),
  );
  for (const run of straight.values()) {
    expect(run.size).toBe(STEPS.length - LASTING.length);
    expect(run.get('updates')).toMatchObject({ value: { updated: true } });
    expect(run.get('list changes')).toEqual({ value: { tools: true, prompts: true } });
    expect(run.get('cancel')).toMatchObject({ value: { told: true } });
  }
  await Promise.all(
    RUNS.map(async ([name, kind]) => {
      const through = await runSteps(kind, targets.of(name), { label: `${kind.name} ${name}`, ...context });
      const found = compare(kind.name, name, straight.get(kind) ?? new Map(), through);
      expect([kind.name, name, found.filter(({ why }) => why === undefined)]).toEqual([kind.name, name, []]);
    }),
  );
});

test('a call without any sign of life for 75 s, and for 320 s, is kept alive and answered, for each client', async () => {
  const clock = new FakeClock();
  const targets = await targetsBy(clock);
  const waiting = new Map<Face, () => void>();
  /** Time passes for all of them once all wait. */
  const pass = (face: Face, ms: number): Promise<void> =>
    new Promise((resolve, reject) => {
      waiting.set(face, resolve);
      if (waiting.size === RUNS.length) void passAll(ms).catch(reject);
    });
  const passAll = async (ms: number): Promise<void> => {
    const faces = [...waiting];
    waiting.clear();
    for (let passed = 0; passed < ms; passed += 25_000) {
      const alive = faces.map(([face]) => face.tap?.next());
      await clock.advance(25_000);
      // Each client hears something before the next 25 s begin.
      await Promise.all(alive);
    }
    for (const [, resolve] of faces) resolve();
  };
  for (const name of LASTING) {
    await Promise.all(
      RUNS.map(async ([target, kind]) => {
        const context = { label: `${kind.name} ${target}`, pass, slow: true };
        const run = await runLasting(name, kind, targets.of(target), context);
        expect(run.get(name)).toEqual({ value: 'held until it was released' });
      }),
    );
  }
});
