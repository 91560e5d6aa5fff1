import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { ListenOptions, ShutdownPlanOptions } from '../../src/shutdown/index.js';
import { ShutdownPlan } from '../../src/shutdown/index.js';
import { HttpClient } from '../support/http.js';
import { Program } from '../support/program.js';
import { fixture } from '../support/servers.js';
import { tempFolder } from '../support/tempFolder.js';

// Children take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

interface ServiceOptions {
  readonly plan?: ShutdownPlanOptions;
  readonly listen?: ListenOptions;
  /** A step hangs, with this many ms of its own. */
  readonly hang?: number;
  readonly throws?: boolean;
  readonly startMs?: number;
  /** It reads that pipe. */
  readonly pipe?: string;
  /** It has nothing to do. */
  readonly idle?: boolean;
}

function service(options: ServiceOptions, under: readonly string[] = []): Program {
  return new Program(fixture('shutdown-service.mjs'), { args: [JSON.stringify(options)], under });
}

const urlOf = async (program: Program): Promise<string> => (await program.line(/listening on (\S+)/))[1] ?? '';

const reportOf = async (program: Program): Promise<{ stillRunning: string[]; exitCode: number }> =>
  JSON.parse((await program.line(/^report (.*)/))[1] ?? '') as { stillRunning: string[]; exitCode: number };

/** As many requests of `ms` each, all of them being worked on. */
async function slowCalls(
  program: Program,
  count: number,
  ms: number,
): Promise<{ answers(): Promise<readonly string[]> }> {
  const url = await urlOf(program);
  const client = new HttpClient();
  const calls = Array.from({ length: count }, (_, id) =>
    client.ask(`${url}?id=${id}&ms=${ms}&of=${count}`).then(
      ({ status, body }) => `${status} ${body}`,
      (error: unknown) => String(error),
    ),
  );
  await program.line(/in flight/);
  return { answers: () => Promise.all(calls) };
}

const all = (count: number): readonly string[] => Array.from({ length: count }, (_, id) => `200 answer ${id}`);

test('a step that hangs is named, the rest is done, and the exit code is 1 within the budget', async () => {
  const program = service({ plan: { totalMs: 2_000 }, hang: Number.MAX_SAFE_INTEGER });
  const calls = await slowCalls(program, 50, 800);
  program.kill('SIGTERM');
  expect(await calls.answers()).toEqual(all(50));
  expect(await reportOf(program)).toEqual({ stillRunning: ['the one that hangs'], exitCode: 1 });
  expect((await program.exited).code).toBe(1);
  await program.line(/^last step/);
  expect(Number((await program.line(/: (\d+) of 2000 ms/))[1])).toBeLessThanOrEqual(2_000);
});

test('SIGHUP, which a closed terminal sends, is an orderly stop like SIGTERM: calls in flight are answered', async () => {
  const program = service({});
  const calls = await slowCalls(program, 50, 800);
  program.kill('SIGHUP');
  expect(await calls.answers()).toEqual(all(50));
  expect((await program.exited).code).toBe(0);
  await program.line(/^last step/);
});

test('a step that throws is reported, the rest is done, and the exit code is 1', async () => {
  const program = service({ throws: true });
  const calls = await slowCalls(program, 50, 800);
  program.kill('SIGTERM');
  expect(await calls.answers()).toEqual(all(50));
  expect((await program.exited).code).toBe(1);
  await program.line(/^last step/);
  await program.line(/close +the one that throws failed +\d+ ms +it broke/);
});

for (const [signal, exitCode] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  test(`a second ${signal} forces: the rest is still attempted, and the exit code is ${exitCode}`, async () => {
    const program = service({ hang: 20_000, listen: { repeatMs: 0, forceMs: 200 } });
    await urlOf(program);
    program.kill(signal);
    await program.line(/stopping/);
    program.kill(signal);
    expect(await program.exited).toEqual({ code: exitCode, signal: null });
    expect(await reportOf(program)).toEqual({ stillRunning: ['the one that hangs'], exitCode });
    await program.line(/^last step/);
  });
}

test('a program whose disk hangs ends all the same', async () => {
  const pipe = join(tempFolder(), 'pipe');
  spawnSync('mkfifo', [pipe]);
  const program = service({ pipe });
  await urlOf(program);
  program.kill('SIGTERM');
  await program.line(/^last step/);
  expect(await program.exited).toMatchObject({ signal: 'SIGKILL' });
});

test('a third signal exits at once', async () => {
  const program = service({ hang: 20_000, listen: { repeatMs: 0, forceMs: 15_000 } });
  await urlOf(program);
  program.kill('SIGTERM');
  await program.line(/stopping/);
  // Signals that are pending together merge: the second is sent again until one has been the third.
  const timer = setInterval(() => program.kill('SIGTERM'), 20);
  expect(await program.exited).toEqual({ code: 143, signal: null });
  clearInterval(timer);
  expect(program.output).not.toMatch(/report/);
});

test('SIGTERM twice at once is one wish: everything is answered and the exit code is 0', async () => {
  const program = service({ listen: { repeatMs: 10_000 } });
  const calls = await slowCalls(program, 50, 800);
  program.kill('SIGTERM');
  program.kill('SIGTERM');
  await program.line(/stopping/);
  program.kill('SIGTERM');
  expect(await calls.answers()).toEqual(all(50));
  expect(await program.exited).toEqual({ code: 0, signal: null });
});

test('SIGTERM during the start ends it without an error', async () => {
  const program = service({ startMs: 60_000 });
  await program.line(/starting/);
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  await program.line(/^last step/);
  expect(program.output).not.toMatch(/listening/);
  expect(program.stderr).toBe('');
});

test('with 1,000 connections kept alive and an open event stream it still exits as soon as the work is done', async () => {
  const program = service({});
  const url = await urlOf(program);
  const client = new HttpClient();
  await Promise.all(Array.from({ length: 1_000 }, () => client.ask(`${url}?ms=100`)));
  expect(client.sockets).toBe(1_000);
  const events = new HttpClient().ask(`${url}/events`);
  await program.line(/stream open/);
  const calls = await slowCalls(program, 50, 800);
  program.kill('SIGTERM');
  expect(await calls.answers()).toEqual(all(50));
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(await events).toMatchObject({ status: 200, body: 'data: hello\n\n' });
});

test('an uncaught exception and an unhandled rejection shut down when asked to, with exit code 1', async () => {
  for (const [path, reason] of [
    ['/crash', 'uncaughtException'],
    ['/throw', 'unhandledRejection'],
  ] as const) {
    const program = service({
      listen: { uncaughtException: true, unhandledRejection: true },
      plan: { totalMs: 1_000 },
    });
    const url = await urlOf(program);
    const calls = await slowCalls(program, 10, 800);
    const crash = new HttpClient().ask(url + path).catch(() => undefined);
    expect(await calls.answers()).toEqual(all(10));
    expect((await program.exited).code).toBe(1);
    await program.line(new RegExp(`shutdown \\(${reason}\\)`));
    await program.line(/^last step/);
    await crash;
  }
});

test('a program that has nothing left to do shuts down on its own', async () => {
  const program = service({ idle: true });
  expect(await program.exited).toEqual({ code: 0, signal: null });
  await program.line(/shutdown \(beforeExit\)/);
  await program.line(/^last step/);
});

test('without exit the process ends by itself, with the exit code of the report', async () => {
  const program = service({ listen: { exit: false }, throws: true });
  await urlOf(program);
  program.kill('SIGTERM');
  expect(await program.exited).toEqual({ code: 1, signal: null });
});

const unshare = ['unshare', '--pid', '--fork', '--kill-child'];
const canUnshare = spawnSync('unshare', [...unshare.slice(1), 'true']).status === 0;
if (!canUnshare) console.warn('SKIPPED: process 1 of a container (unshare --pid is not permitted here)');

test.skipIf(!canUnshare)('as process 1 of a container it answers signals like any other', async () => {
  const program = service({}, unshare);
  const calls = await slowCalls(program, 50, 800);
  const inner = Number(readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, 'utf8'));
  expect(/^NSpid:\t\d+\t1$/m.test(readFileSync(`/proc/${inner}/status`, 'utf8'))).toBe(true);
  process.kill(inner, 'SIGTERM');
  expect(await calls.answers()).toEqual(all(50));
  expect(await program.exited).toEqual({ code: 0, signal: null });
});

test('listening ends with the shutdown, or when disposed, and leaves no listener', async () => {
  const before = process.eventNames().map((name) => process.listenerCount(name));
  const count = (): readonly number[] => process.eventNames().map((name) => process.listenerCount(name));
  const disposed = new ShutdownPlan().listen();
  expect(count()).not.toEqual(before);
  disposed[Symbol.dispose]();
  expect(count()).toEqual(before);

  const plan = new ShutdownPlan();
  const reports: string[] = [];
  plan.listen({ signals: ['SIGUSR2'], onReport: (report) => reports.push(report.reason) });
  process.emit('SIGUSR2');
  await plan.shutdown();
  await new Promise((resolve) => setImmediate(resolve));
  expect(reports).toEqual(['SIGUSR2']);
  expect(count()).toEqual(before);
});
