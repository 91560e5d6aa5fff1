import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { OptionError, StartError } from '../../../src/core/errors.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { fixture } from '../../support/servers.js';

const quick = { stdinGraceMs: 150, termGraceMs: 150 };
const sh = (script: string) => ({ command: 'sh', args: ['-c', script] });

/** Non-zombie processes whose environment holds the token. */
function bearers(token: string): number[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const alive = !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      return alive && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(token) ? [Number(pid)] : [];
    } catch {
      return [];
    }
  });
}

test('a child that reads its stdin ends by EOF alone, with its exit code', async () => {
  const child = await ManagedProcess.spawn('cat', sh('cat; exit 3'), quick);
  child.stdin.write('hello\n');
  expect(String((await once(child.stdout, 'data'))[0])).toBe('hello\n');
  expect(bearers(child.token)).toContain(child.pid);
  await child.stop();
  expect(child.exitInfo).toEqual({ exitCode: 3, signal: null });
  expect(bearers(child.token)).toEqual([]);
});

test('a child that ignores EOF and the polite signal is killed, group and all', async () => {
  const child = await ManagedProcess.spawn(
    'stubborn',
    sh(
      `trap '' TERM; sh -c "trap '' TERM; for i in 1 2 3 4 5 6; do sleep 20; done" & echo up; for i in 1 2 3 4 5 6; do sleep 20; done`,
    ),
    quick,
  );
  await once(child.stdout, 'data');
  await child.stop();
  expect(child.exitInfo).toEqual({ exitCode: null, signal: 'SIGKILL' });
  expect(bearers(child.token)).toEqual([]);
});

test('what daemonised with setsid is found by its token', async () => {
  const child = await ManagedProcess.spawn('daemon', sh('setsid sleep 60 & cat'), quick);
  await expect.poll(() => bearers(child.token).length).toBe(3);
  await child.stop();
  expect(bearers(child.token)).toEqual([]);
});

test.each([
  ['before the stop says that it is over', (child: ManagedProcess) => child.stop()],
  [
    'by an owner that ends in this very turn',
    async ({ group, token }: ManagedProcess) => {
      group.killNow();
      // A busy machine takes a moment to end what was killed.
      await expect.poll(() => bearers(token)).toEqual([]);
    },
  ],
])('what runs from session to session, each time as another process, is caught %s', async (_, end) => {
  const folder = await mkdtemp(join(tmpdir(), 'poolkit-'));
  try {
    for (const pause of ['', 'sleep 0.003;', '']) {
      const hop = `trap '' TERM HUP; [ -d ${folder} ] || exit; ${pause} setsid sh -c "$HOP" </dev/null >/dev/null 2>&1 & exit 0`;
      const config = { command: 'sh', args: ['-c', hop], env: { HOP: hop } };
      const child = await ManagedProcess.spawn('hopper', config, { stdinGraceMs: 20, termGraceMs: 20 });
      await child.exited;
      await end(child);
      for (let looks = 0; looks < 10; looks++) {
        expect(bearers(child.token)).toEqual([]);
        await setTimeout(2);
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('grandchildren die too when the direct child has gone, and its exit does not wait for them', async () => {
  const child = await ManagedProcess.spawn('parent', sh('sleep 60 & exit 0'), quick);
  expect(await child.exited).toEqual({ exitCode: 0, signal: null });
  expect(bearers(child.token)).toHaveLength(1);
  await child.stop();
  expect(bearers(child.token)).toEqual([]);
});

test('a program that does not exist, may not run or starts nowhere is a StartError with the cause', async () => {
  const none = ManagedProcess.spawn('none', { command: '/does/not/exist' });
  await expect(none).rejects.toThrow(/server "none" did not start: no program "\/does\/not\/exist" was found/);
  await expect(none).rejects.toMatchObject({ code: 'ERR_START_FAILED', cause: { code: 'ENOENT' } });
  const dir = ManagedProcess.spawn('dir', { command: '/tmp' });
  await expect(dir).rejects.toMatchObject({ message: /"\/tmp" is a folder$/, cause: { code: 'EACCES' } });
  const plain = fixture('hostile-server.mjs');
  await expect(ManagedProcess.spawn('plain', { command: plain })).rejects.toThrow(/mjs" may not be executed$/);
  await expect(ManagedProcess.spawn('below', { command: `${plain}/x` })).rejects.toThrow(
    /no program ".*\/x" was found$/,
  );
  const inFile = ManagedProcess.spawn('cwd', { command: 'cat', cwd: plain });
  await expect(inFile).rejects.toThrow(/its working directory ".*mjs" is no folder$/);
  const line = ManagedProcess.spawn('line', { command: '/opt/My App/server up' });
  await expect(line).rejects.toThrow(/no program "\/opt\/My App\/server up" was found: no shell reads a whole line/);
  const nowhere = ManagedProcess.spawn('cwd', { command: 'cat', cwd: '/does/not/exist' });
  await expect(nowhere).rejects.toThrow(/working directory "\/does\/not\/exist" does not exist/);
  await expect(ManagedProcess.spawn('nul', { command: 'cat', args: ['\0'] })).rejects.toBeInstanceOf(StartError);
  await expect(ManagedProcess.spawn('empty', { command: '' })).rejects.toBeInstanceOf(OptionError);
});

test('every caller of stop shares one promise, and a later one can only shorten it', async () => {
  const child = await ManagedProcess.spawn(
    'deaf',
    sh(`trap '' TERM; echo up; for i in 1 2 3 4 5 6; do sleep 20; done`),
    {
      stdinGraceMs: 600_000,
      termGraceMs: 600_000,
    },
  );
  await once(child.stdout, 'data');
  const first = child.stop();
  expect(child.stop({ graceMs: 700_000 })).toBe(first);
  expect(child.kill()).toBe(first);
  expect(child.stop()).toBe(first);
  await first;
  expect(child.exitInfo?.signal).toBe('SIGKILL');
  expect(child.stop()).toBe(first);
});

test('the environment is minimal: the allow-list, what is asked for, and the token', async () => {
  process.env['POOLKIT_TEST_SECRET'] = 'secret';
  process.env['POOLKIT_TEST_WANTED'] = 'wanted';
  const child = await ManagedProcess.spawn('env', {
    command: 'env',
    env: { EXTRA: '1' },
    inheritEnv: ['POOLKIT_TEST_W*'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += String(chunk);
  });
  await once(child.stdout, 'end');
  await child.stop();
  expect(text).toMatch(/^PATH=/m);
  expect(text).toMatch(/^EXTRA=1$/m);
  expect(text).toMatch(/^POOLKIT_TEST_WANTED=wanted$/m);
  expect(text).toContain(`MCP_POOLKIT_TOKEN=`);
  expect(text).toContain(child.token);
  expect(text).not.toContain('secret');
});

test('stderr is drained into a tail bounded in lines and length', async () => {
  const child = await ManagedProcess.spawn(
    'loud',
    sh('i=0; while [ $i -lt 500 ]; do echo "line $i" >&2; i=$((i+1)); done; printf "%05000d" 7 >&2; echo done; cat'),
    { ...quick, stderrMaxLines: 3, stderrMaxLineBytes: 10 },
  );
  const seen: string[] = [];
  child.onStderr((line) => seen.push(line));
  await once(child.stdout, 'data');
  await child.stop();
  expect(seen.at(-2)).toBe('line 499');
  expect(child.stderrLines()).toEqual(['line 498', 'line 499', '0000000000…']);
});

test('writing to a child that is gone raises nothing, and a late exit listener is still told', async () => {
  const child = await ManagedProcess.spawn('gone', { command: 'true' });
  await child.exited;
  child.stdin.write('x'.repeat(100_000));
  await new Promise<void>((resolve) => child.onExit(() => resolve()));
  await child.stop();
});
