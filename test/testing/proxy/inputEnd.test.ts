import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test, vi } from 'vitest';
import { MAIN } from '../../support/cli.js';
import { tempFolder } from '../../support/tempFolder.js';

vi.setConfig({ testTimeout: 60_000 });

/** Answers all at once, when its stdin has ended. */
const SERVER = ['sh', '-c', String.raw`sed 's/.*"id":\([0-9]*\).*/{"jsonrpc":"2.0","id":\1,"result":{}}/'; exit 3`];
const calls = (...ids: readonly number[]): string =>
  ids.map((id) => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"a","arguments":{}}}\n`).join('');
const answers = (...ids: readonly number[]): string =>
  ids.map((id) => `{"jsonrpc":"2.0","id":${id},"result":{}}\n`).join('');

/** What a program makes of so much input, as of a file. */
async function piped(input: string, ...args: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, ...args]);
  child.stdin.end(input);
  const said = Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await once(child, 'close');
  const [stdout, stderr] = await said;
  return { code, stdout, stderr };
}

function faulted(plan: object, server: readonly string[]) {
  const file = join(tempFolder(), 'plan.json');
  writeFileSync(file, JSON.stringify(plan));
  return ['fault', '--plan', file, '--', ...server];
}

test('what a server answers once its stdin has ended passes record and is written down, and its exit code stays', async () => {
  const file = join(tempFolder(), 'session.jsonl');
  const { code, stdout, stderr } = await piped(calls(1, 2, 3), 'record', '--out', file, '--', ...SERVER);
  expect([code, stdout, stderr]).toEqual([3, answers(1, 2, 3), '']);
  const recorded = readFileSync(file, 'utf8').trim().split('\n');
  const senders = recorded.map((line) => JSON.parse(line)).map(({ from, message }) => `${from} ${message.id}`);
  expect(senders).toEqual(['client 1', 'client 2', 'client 3', 'server 1', 'server 2', 'server 3']);
});

test.each(['slowStart', 'delay', 'outOfOrder'])(
  'what %s holds back at the end of stdin goes its way all the same',
  async (fault) => {
    const plan = { rules: [{ fault, delayMs: 100 }] };
    const { code, stdout } = await piped(calls(1), ...faulted(plan, SERVER));
    expect([code, stdout]).toEqual([3, answers(1)]);
  },
);

test('faults befall what is answered after the end of stdin', async () => {
  const plan = { rules: [{ fault: 'duplicate', nth: 2 }] };
  const { stdout } = await piped(calls(1, 2), ...faulted(plan, SERVER));
  expect(stdout).toBe(answers(1, 2, 2));
});

test('requests that a server leaves unanswered when it ends after the end of stdin are told', async () => {
  const { code, stdout, stderr } = await piped(calls(1, 2), ...faulted({}, ['sh', '-c', 'cat >/dev/null']));
  expect([code, stdout, stderr]).toEqual([0, '', 'mcp-poolkit: the server ended with 2 requests unanswered\n']);
});
