import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { configFile, MAIN } from '../../support/cli.js';
import { Program } from '../../support/program.js';
import { tempFolder } from '../../support/tempFolder.js';

const ENTRY = resolve(import.meta.dirname, '../../../dist/registry/index.js');
const ECHO = resolve(import.meta.dirname, '../../fixtures/echo-server.mjs');

/** A shell that opens 17 and 50 on a file with a secret, then runs the program. */
function opened(): { readonly under: readonly string[]; readonly secret: string } {
  const secret = join(tempFolder(), 'secret');
  writeFileSync(secret, 'the secret');
  return { under: ['bash', '-c', `exec 17<"${secret}" 50<"${secret}"; exec "$@"`, 'bash'], secret };
}

/** Where each descriptor of the shell that runs it leads. No pipeline: the shell would hold that pipe for a moment. */
const LIST = 'ls -l /proc/$$/fd; :';
const listed = (lines: readonly string[]): string[] =>
  lines.flatMap((line) => {
    const [, fd, target] = / (\d+) -> (.*)$/.exec(line) ?? [];
    return fd === undefined ? [] : [`${fd}=${target}`];
  });
const beyond = (lines: readonly string[]): string[] => listed(lines).filter((line) => !/^[012]=/.test(line));

test('a child of `serve` and `call` has 0, 1 and 2 alone, whatever the program was started with', async () => {
  const { under } = opened();
  const list = join(tempFolder(), 'list');
  const file = configFile({
    s: { command: 'sh', args: ['-c', `{ ${LIST}; } > "$1"; exec "$2" "$3"`, 'sh', list, process.execPath, ECHO] },
  });
  const call = new Program(MAIN, { args: ['call', 's', 'echo', '{"text":"hello"}', '--config', file], under });
  expect(await call.exited, call.stderr).toEqual({ code: 0, signal: null });
  // The shell itself keeps its stdout at 10 while it is redirected.
  const lines = readFileSync(list, 'utf8').trim().split('\n');
  expect(listed(lines).length).toBeGreaterThan(2);
  expect(beyond(lines).filter((line) => !line.startsWith('10=pipe') && !line.startsWith('10=socket'))).toEqual([]);
});

test('a config that is a descriptor itself, as with `--config <(…)`, can be read', async () => {
  const config = JSON.stringify({ mcpServers: { s: { command: process.execPath, args: [ECHO] } } });
  const under = ['bash', '-c', 'exec "$@" --config <(echo "$CONFIG")', 'bash'];
  const call = new Program(MAIN, { args: ['call', 's', 'echo', '{"text":"hi"}'], under, env: { CONFIG: config } });
  expect(await call.exited, call.stderr).toEqual({ code: 0, signal: null });
});

test("a child of the library's finds /dev/null under the number of what the program inherited, which stays open", async () => {
  const { under, secret } = opened();
  const program = join(tempFolder(), 'program.mjs');
  writeFileSync(
    program,
    `import { readFileSync } from 'node:fs';
    import { ManagedProcess } from ${JSON.stringify(ENTRY)};
    for (let i = 0; i < 2; i++) {
      const child = await ManagedProcess.spawn('s', { command: 'sh', args: ['-c', ${JSON.stringify(LIST)}] });
      child.stdout.pipe(process.stdout, { end: false });
      await child.exited;
      await child.stop();
    }
    console.log('still ' + readFileSync(17, 'utf8'));`,
  );
  const run = new Program(program, { under });
  expect(await run.exited, run.stderr).toEqual({ code: 0, signal: null });
  const found = beyond(run.lines);
  expect(found.filter((line) => line.startsWith('17='))).toEqual(['17=/dev/null', '17=/dev/null']);
  expect(found.filter((line) => line.startsWith('50='))).toEqual(['50=/dev/null', '50=/dev/null']);
  expect(found.filter((line) => line.includes(secret))).toEqual([]);
  expect(run.lines).toContain('still the secret');
});

test("a program's own start can close what it inherited", async () => {
  const { under } = opened();
  const program = join(tempFolder(), 'program.mjs');
  writeFileSync(
    program,
    `import { closeInheritedDescriptors, ManagedProcess } from ${JSON.stringify(ENTRY)};
    console.log('closed ' + closeInheritedDescriptors().join(' '));
    const child = await ManagedProcess.spawn('s', { command: 'sh', args: ['-c', ${JSON.stringify(LIST)}] });
    child.stdout.pipe(process.stdout, { end: false });
    await child.exited;
    await child.stop();`,
  );
  const run = new Program(program, { under });
  expect(await run.exited, run.stderr).toEqual({ code: 0, signal: null });
  expect(run.lines[0]).toMatch(/^closed (.* )?17 (.* )?50( .*)?$/);
  expect(beyond(run.lines)).toEqual([]);
});
