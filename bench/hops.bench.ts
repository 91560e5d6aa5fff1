import { Session } from 'node:inspector/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promiseHooks } from 'node:v8';
import { StdioPool } from '../src/pool/StdioPool.js';
import type { Bench } from './harness.js';

const CALLS = 200;
const SRC = fileURLToPath(new URL('../src/', import.meta.url));

/** What one call costs in promises and in files of ours that a reader has to follow, once everything is warm. */
export async function suite(bench: Bench): Promise<void> {
  await using pool = new StdioPool();
  pool.addServer({ name: 'echo', transport: 'stdio', command: process.execPath, args: ['bench/servers/echo.mjs'] });
  const call = async (i: number): Promise<void> => {
    const { content } = await pool.callTool('echo', 'echo', { text: `t${i}` });
    const [first] = content;
    if (first?.type !== 'text' || first.text !== `t${i}`) throw new Error('a call went astray');
  };
  const calls = async (): Promise<void> => {
    for (let i = 0; i < CALLS; i++) await call(i);
  };
  await calls();
  const made = await promisesOf(calls);
  for (const [where, count] of made.entries()) bench.note(`${(count / CALLS).toFixed(2)} promises: ${where}`);
  let promises = 0;
  for (const count of made.values()) promises += count;
  bench.target('promises of one call over stdio made inside the toolkit', Math.round(promises / CALLS), '<=', 2);
  const files = await filesOf(calls);
  for (const file of files) bench.note(file);
  bench.target('files of ours that one call over stdio runs through', files.length, '<=', 18);
}

/**
 * Promises made by code of ours, by the place that made them. An `await` makes one of its own only while hooks look on:
 * it has a parent and is not made by `then`, `catch` or `finally`; those are not counted.
 */
async function promisesOf(run: () => Promise<void>): Promise<ReadonlyMap<string, number>> {
  const made = new Map<string, number>();
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 6;
  const stop = promiseHooks.onInit((_, parent) => {
    const frames = (new Error().stack ?? '').split('\n').slice(2);
    const ofAwait = parent !== undefined && !/at Promise\.(then|catch|finally)/.test(frames[0] ?? '');
    const own = frames.find((frame) => frame.includes('file://'));
    if (ofAwait || own === undefined || !own.includes('/src/')) return;
    const [, file = '', line = ''] = /file:\/\/(.*?):(\d+):\d+/.exec(own) ?? [];
    const where = `${relative(SRC, file)}:${line}`;
    made.set(where, (made.get(where) ?? 0) + 1);
  });
  try {
    await run();
  } finally {
    stop();
    Error.stackTraceLimit = limit;
  }
  return new Map([...made].filter(([, count]) => count >= CALLS / 2));
}

/** Files of ours of which some function ran for every call. */
async function filesOf(run: () => Promise<void>): Promise<readonly string[]> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
    await session.post('Profiler.takePreciseCoverage');
    await run();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    return result
      .filter(({ url, functions }) => {
        const counts = functions.flatMap(({ ranges }) => ranges.map(({ count }) => count));
        return url.startsWith('file://') && fileURLToPath(url).startsWith(SRC) && Math.max(...counts) >= CALLS / 2;
      })
      .map(({ url }) => relative(SRC, fileURLToPath(url)))
      .sort();
  } finally {
    session.disconnect();
  }
}
