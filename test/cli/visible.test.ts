import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text as textOf } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import { visible } from '../../src/cli/output/visible.js';
import { configFile, MAIN, run } from '../support/cli.js';
import { fixture } from '../support/servers.js';

vi.setConfig({ testTimeout: 60_000 });

/** Sets a terminal's title, clears it, by the long and the short introducers, and turns text around. */
const STEERING = '\u001b]0;title\u0007\u001b[2J\u009b2J\u009d0;title\u009c\u202egnp';
// biome-ignore lint/suspicious/noControlCharactersInRegex: those must not be there.
const STEERS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;

test('what would steer a terminal is spelled out, and JSON stays the same JSON', () => {
  expect(visible('\u001b[2J\ta\nb ü')).toBe('\\u001b[2J\ta\nb ü');
  expect(visible(STEERING)).not.toMatch(STEERS);
  const json = visible(JSON.stringify({ [STEERING]: STEERING }, null, 2));
  expect(json).not.toMatch(STEERS);
  expect(JSON.parse(json)).toEqual({ [STEERING]: STEERING });
});

const text = JSON.stringify(STEERING);
const CASES: readonly (readonly [string, string])[] = [
  ['an error', `send({ id, error: { code: 1, message: ${text} } })`],
  [
    'progress, which may be no number',
    `send({ method: 'notifications/progress', params: { progressToken: message.params._meta.progressToken, progress: ${text}, total: { toString: 1 } } }); reply()`,
  ],
  ['an image', `reply({ content: [{ type: 'image', data: ${text} }] })`],
  ['data', `reply({ structuredContent: { [${text}]: ${text} } })`],
];

test('nothing that a server or a config says steers the terminal, but the text of a result', async () => {
  const [hostile, unstarted] = ['hostile', 'unstarted'];
  const file = configFile({
    [hostile]: { command: process.execPath, args: [fixture('hostile-server.mjs')], [STEERING]: 1 },
    [unstarted]: { command: process.execPath, args: ['-e', `console.error(${text}); console.log(${text})`] },
  });
  const calls = CASES.flatMap(([, js]) => {
    const args = ['call', hostile, 'x', JSON.stringify({ js }), '--config', file];
    return [args, [...args, '--json']];
  });
  const ends = await Promise.all(
    [...calls, ['call', unstarted, 'x', '--config', file], ['call', STEERING, 'x', '--config', file]].map((args) =>
      run(...args),
    ),
  );
  for (const { stdout, stderr } of ends) {
    expect(stdout).not.toMatch(STEERS);
    expect(stderr).not.toMatch(STEERS);
    expect(stderr).not.toContain('TypeError');
    expect(`${stdout}${stderr}`).not.toBe('');
  }
  for (const args of [[], ['--json']]) {
    const { stdout, stderr } = await run('doctor', '--config', file, ...args);
    expect(stdout).toContain('unstarted');
    expect(`${stdout}${stderr}`).not.toMatch(STEERS);
  }
  const plain = `reply({ content: [{ type: 'text', text: ${JSON.stringify('\u001b[1mbold\u001b[0m')} }] })`;
  expect(await run('call', hostile, 'x', JSON.stringify({ js: plain }), '--config', file)).toMatchObject({
    stdout: '\u001b[1mbold\u001b[0m',
  });
});

const SCRIPT = '/usr/bin/script';
test.runIf(existsSync(SCRIPT))('on a terminal the stderr of a server behind record steers nothing either', async () => {
  const server = `'${process.execPath}' -e 'console.error(process.argv[1])' '\u001b[2Jred'`;
  const record = `'${process.execPath}' '${MAIN}' record --out /dev/null -- ${server}`;
  const terminal = spawn(SCRIPT, ['-qec', record, '/dev/null'], { env: { ...process.env, SHELL: '/bin/sh' } });
  const [out] = await Promise.all([textOf(terminal.stdout), once(terminal, 'close')]);
  expect(out).toContain('\\u001b[2Jred');
  expect(out).not.toContain('\u001b[2Jred');
});
