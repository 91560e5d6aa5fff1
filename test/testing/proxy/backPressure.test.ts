import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, test, vi } from 'vitest';
import { BackPressure } from '../../../src/testing/proxy/BackPressure.js';
import { MAIN } from '../../support/cli.js';
import { closeAfter } from '../../support/closeAfter.js';
import { tempFolder } from '../../support/tempFolder.js';

vi.setConfig({ testTimeout: 60_000 });

const TOTAL_BYTES = 64 * 2 ** 20;
/** Pipes and buffers on the way, far below the total. */
const MAX_BYTES = 8 * 2 ** 20;

/** Says what its pipe took of 64 MiB in a file, and reads nothing. */
const FLOOD = `
  const line = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(65_000) } }) + '\\n';
  let taken = 0;
  const write = () => process.stdout.write(line, () => {
    require('node:fs').writeFileSync(process.env.TAKEN, String(taken += line.length));
    if (taken < ${TOTAL_BYTES}) write();
  });
  write();
  setInterval(() => undefined, 1_000);`;

function behindFault(script: string, taken: string): ChildProcess {
  const plan = join(tempFolder(), 'plan.json');
  writeFileSync(plan, '{}');
  const args = [MAIN, 'fault', '--plan', plan, '--', process.execPath, '-e', script];
  const child = spawn(process.execPath, args, { env: { ...process.env, TAKEN: taken } });
  child.stdin.on('error', () => undefined);
  closeAfter({
    close: async () => {
      if (child.exitCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      child.stdout.destroy();
      await gone;
    },
  });
  return child;
}

/** What a count comes to rest at. */
async function resting(count: () => number): Promise<number> {
  for (let last = -1, same = 0; ; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = count();
    same = now === last && now > 0 ? same + 1 : 0;
    if (same >= 5) return now;
    last = now;
  }
}

test('a client that does not read holds the server back that fault stands in front of', async () => {
  const taken = join(tempFolder(), 'taken');
  writeFileSync(taken, '0');
  const child = behindFault(FLOOD, taken);
  child.stdout?.pause();
  expect(await resting(() => Number(readFileSync(taken, 'utf8')))).toBeLessThan(MAX_BYTES);
});

test('a server that does not read holds the client back', async () => {
  const child = behindFault('setInterval(() => undefined, 1_000)', '');
  const line = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { data: 'x'.repeat(65_000) } })}\n`;
  let taken = 0;
  const write = (): void =>
    void child.stdin?.write(line, (error) => {
      if (error) return;
      taken += line.length;
      if (taken < TOTAL_BYTES) write();
    });
  write();
  expect(await resting(() => taken)).toBeLessThan(MAX_BYTES);
});

test('a client is held back once as much waits as may: that it has gone is seen before', () => {
  const output = new PassThrough({ highWaterMark: 1 });
  const told: string[] = [];
  const client = { pause: () => void told.push('pause'), resume: () => void told.push('resume') };
  const pressure = new BackPressure({ output, client, onOrphaned: () => undefined, onStalled: () => undefined });
  const write = (bytes: number): void => void (output.write('x'.repeat(bytes)) || pressure.hold());
  write(3_000_000);
  expect(told).toEqual([]);
  write(3_000_000);
  expect(told).toEqual(['pause']);
  output.destroy();
});

test('fault, before a server that does not read, ends when its client has gone', async () => {
  const child = behindFault('setInterval(() => undefined, 1_000)', '');
  const line = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { data: 'x'.repeat(65_000) } })}\n`;
  for (let i = 0; i < 20; i++) child.stdin?.write(line);
  await resting(() => 1e9 - (child.stdin?.writableLength ?? 0));
  const gone = once(child, 'exit');
  child.stdin?.destroy();
  child.stdout?.destroy();
  expect(await gone).toEqual([0, null]);
});

test('fault, before a server that has closed its stdin and lives on, ends when its client has gone', async () => {
  const line = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: { data: 'x'.repeat(65_000) } })}\n`;
  const behind = async (more: string): Promise<unknown> => {
    const child = behindFault('require("node:fs").closeSync(0); setInterval(() => undefined, 1_000)', '');
    for (let i = 0; i < 20; i++) child.stdin?.write(line);
    await resting(() => 1e9 - (child.stdin?.writableLength ?? 0));
    const gone = once(child, 'exit');
    child.stdin?.end(more);
    child.stdout?.destroy();
    return gone;
  };
  expect(await Promise.all([behind(''), behind(line)])).toEqual([
    [0, null],
    [0, null],
  ]);
});

test('what a server wrote before it exited reaches its client whole through fault', async () => {
  const large = 5_000_000;
  const script = `process.stdout.write('"' + 'x'.repeat(${large}) + '"\\n', () => process.exit(3))`;
  const child = behindFault(script, '');
  let bytes = 0;
  // A moment later, when the server has gone.
  const gone = once(child, 'exit');
  await resting(() => child.stdout?.readableLength ?? 0);
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await once(child.stdout as NodeJS.ReadableStream, 'end');
  expect(bytes).toBe(large + 3);
  expect(await gone).toEqual([3, null]);
});
