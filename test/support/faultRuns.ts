import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Connection } from '../../src/connection/Connection.js';
import type { McpPool, RequestOptions } from '../../src/pool/McpPool.js';
import { closeAndCheck, leakBaseline } from '../../src/testing/closeAndCheck.js';
import type { EffectEvent, KitEvent } from '../../src/testing/faults/events.js';
import { FaultPlan } from '../../src/testing/faults/FaultPlan.js';
import type { Fault } from '../../src/testing/faults/faultTable.js';
import type { FaultRule } from '../../src/testing/faults/rule/FaultRule.js';
import { closeAll } from './closeAfter.js';
import { outcome } from './memoryPool.js';
import { NOT_OURS } from './notOurs.js';

const TIMEOUT = 'ERR_REQUEST_TIMEOUT';
/** Long enough for a request to reach a server on a busy machine. */
const TIMEOUT_MS = 1_500;

/** One fault: how it is provoked and what the caller gets. */
export interface FaultCase {
  readonly fault: Fault;
  /** What the first call ends in: a code, or the text of its answer. */
  readonly first: string;
  /** What a call after it ends in. @defaultValue its own text */
  readonly next?: string;
  readonly settings?: Partial<FaultRule>;
  /** @defaultValue the tool echo */
  readonly method?: string;
  readonly tool?: string;
  readonly args?: object;
  /** Counters that must come to this. */
  readonly garbage?: number;
  readonly late?: number;
  /** Executions the server began for both calls. @defaultValue 2 */
  readonly effects?: number;
  readonly timeoutMs?: number;
  /** Where a wrapped connection, which does not know HTTP from others, counts more. */
  readonly wrapped?: Partial<FaultOutcome>;
  /** What is another in the modern era. */
  readonly modern?: Partial<FaultCase>;
  /** Where a proxy, which is not the server, lets the server do more. */
  readonly proxied?: Partial<FaultOutcome>;
  /** Calls that are made before. @defaultValue 0 */
  readonly warm?: number;
}

export interface FaultOutcome {
  readonly first: unknown;
  readonly next: unknown;
  readonly garbage: number;
  readonly late: number;
  readonly effects: number;
}

/** The text of a result, whatever the method. */
function said(result: unknown): unknown {
  const { content } = (result ?? {}) as { readonly content?: readonly { readonly text?: string }[] };
  return content?.[0]?.text ?? (typeof result === 'object' ? 'answered' : result);
}

export function eventsIn(file: string): KitEvent[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as KitEvent);
}

export const effectsIn = (events: readonly KitEvent[]): EffectEvent[] =>
  events.filter((event): event is EffectEvent => event.type === 'effect' && event.phase === 'begin');

/** The plan of one case: its fault befalls the first call. */
export const planOf = ({ fault, settings }: FaultCase): FaultPlan =>
  new FaultPlan({ rules: [{ fault, times: 1, ...settings }] });

/** Runs one case on a pool whose server is `s`: a call that goes wrong, then one more. */
export async function runCase(
  pool: McpPool,
  connections: readonly Connection[],
  events: () => readonly KitEvent[],
  given: FaultCase,
): Promise<FaultOutcome> {
  const { method = 'tools/call', tool = 'echo', args, first: expected, garbage = 0, late = 0 } = given;
  const timeoutMs = given.timeoutMs ?? (expected === TIMEOUT ? TIMEOUT_MS : 20_000);
  const call = (text: string, options: RequestOptions): Promise<unknown> =>
    outcome(pool.request('s', 'tools/call', { name: 'echo', arguments: { text } }, options).then(said));
  const params = { name: tool, arguments: args ?? { text: 'grüße' } };
  for (let n = 0; n < (given.warm ?? 0); n++) await call('warm', {});
  const first = await outcome(
    pool.request('s', method, method === 'tools/call' ? params : undefined, { timeoutMs }).then(said),
  );
  const next = await call('next', { timeoutMs: given.next === TIMEOUT ? TIMEOUT_MS : 20_000 });
  const counted = (name: 'garbage' | 'lateReplies'): number =>
    connections.reduce((sum, { counters }) => sum + counters[name], 0);
  await vi.waitFor(
    () => {
      if (counted('lateReplies') < late || counted('garbage') < garbage) throw new Error('not yet');
    },
    { timeout: 10_000, interval: 5 },
  );
  const counts = { garbage: counted('garbage'), late: counted('lateReplies'), effects: effectsIn(events()).length };
  // Not left to the end of them all: each has processes.
  await pool.close({ graceMs: 0 });
  return { first, next, ...counts };
}

export const expectedOf = (given: FaultCase): FaultOutcome => ({
  first: given.first,
  next: given.next ?? 'next',
  garbage: given.garbage ?? 0,
  late: given.late ?? 0,
  effects: given.effects ?? 2,
});

export const eventsFile = (folder: string): string => join(folder, 'events.jsonl');

/**
 * Runs every case, before the tests that look at them: those that are about waiting wait together, the others come two by
 * two. What they made is closed and looked through for leaks.
 */
export async function outcomesOf<T>(
  cases: readonly FaultCase[],
  run: (given: FaultCase) => Promise<T>,
): Promise<ReadonlyMap<FaultCase, T | Error>> {
  const baseline = leakBaseline({ ignoreTimer: (stack) => NOT_OURS.test(stack) });
  const outcomes = new Map<FaultCase, T | Error>();
  const note = async (given: FaultCase): Promise<void> => {
    outcomes.set(given, await run(given).catch((error: Error) => error));
  };
  const waits = cases.filter(({ first, next }) => first === TIMEOUT || next === TIMEOUT);
  const quick = cases.filter((given) => !waits.includes(given));
  for (let at = 0; at < waits.length; at += WAIT_TOGETHER)
    await Promise.all(waits.slice(at, at + WAIT_TOGETHER).map(note));
  for (let at = 0; at < quick.length; at += 2) await Promise.all(quick.slice(at, at + 2).map(note));
  await closeAll();
  await closeAndCheck(baseline);
  return outcomes;
}

const WAIT_TOGETHER = 7;
