import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MAIN } from '../support/cli.js';
import { commandHost } from '../support/commandHost.js';
import { tempFolder } from '../support/tempFolder.js';

const say = commandHost();

const CALLS = `{"type":"invoke","atMs":1,"call":"c1","server":"files","method":"tools/call","tool":"write"}
{"type":"answer","atMs":4,"call":"c1"}
{"type":"end","atMs":9}
`;
const effect = (atMs: number): string =>
  `{"type":"effect","atMs":${atMs},"phase":"begin","call":"c1","server":"files"}\n`;

function files(...texts: readonly string[]): string[] {
  const folder = tempFolder();
  return texts.map((text, index) => {
    const file = join(folder, `${index}.jsonl`);
    writeFileSync(file, text);
    return file;
  });
}

test('check acquits a good history with 0', async () => {
  const { code, stdout, stderr } = await say(['check', ...files(CALLS, effect(2))]);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^not guilty \(.*\): 1 calls: 1 answers/);
  expect(code).toBe(0);
});

test('check convicts with 2, of the client and its servers together, in the order of time', async () => {
  const { code, stdout } = await say(['check', ...files(CALLS, effect(2), effect(3))]);
  expect(code).toBe(2);
  expect(stdout).toContain('repeated-effect: call c1 (tools/call write on files) took effect 2 times');
  const marked = stdout.split('\n').flatMap((line) => /^ {3}> \S+ s {2}(\w+)/.exec(line)?.[1] ?? []);
  expect(marked).toEqual(['invoke', 'effect', 'effect', 'answer']);
});

test('check reads stdin, leaves rules out and prints JSON', () => {
  const input = CALLS + effect(2) + effect(3);
  const { status, stdout } = spawnSync(
    process.execPath,
    [MAIN, 'check', '-', '--json', '--except', 'repeated-effect'],
    {
      input,
      encoding: 'utf8',
    },
  );
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, counts: { calls: 1, effects: 2 } });
});

test.each([
  ['a file that is not there', ['/nowhere/history.jsonl'], /ENOENT/],
  ['a line that is no event', files.bind(undefined, 'hello\n'), /history line 1.*one JSON object/],
  ['a file without events', files.bind(undefined, '\n'), /history.*expected events, one a line: it has none/],
  ['a rule that does not exist', () => [...files(CALLS), '--except', 'nothing'], /option except.*unsettled/],
] as const)('check says with 1 what is wrong with %s', async (_, args, expected) => {
  const { code, stdout, stderr } = await say(['check', ...(typeof args === 'function' ? args() : args)]);
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(expected);
});
