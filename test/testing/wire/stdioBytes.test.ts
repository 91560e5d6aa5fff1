import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { fakeServerCommand } from '../../../src/testing/fake/child/fakeServerCommand.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { FAULT_NAMES, FAULTS, type Fault } from '../../../src/testing/faults/faultTable.js';
import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import { closeAfter } from '../../support/closeAfter.js';
import { tempFolder } from '../../support/tempFolder.js';

/** Bytes and processes of stdio faults as a client without any toolkit sees them. */

/** A client that notes every chunk. */
class Peer {
  readonly chunks: Buffer[] = [];
  ended = false;
  readonly #to: Writable;
  readonly #woken = new Set<() => void>();

  constructor(from: Readable, to: Writable) {
    this.#to = to;
    to.on('error', () => undefined);
    from.on('data', (chunk: Buffer) => this.wake(() => void this.chunks.push(chunk)));
    from.on('end', () =>
      this.wake(() => {
        this.ended = true;
      }),
    );
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('utf8');
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  send(message: object): void {
    this.#to.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  call(id: number, text: string, name = 'echo', args: object = {}): void {
    this.send({ id, method: 'tools/call', params: { name, arguments: { text, ...args } } });
  }

  async until(done: () => unknown): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#woken.add(resolve));
  }

  /** Sends one more call, and waits for its answer: what had to come before it has come. */
  async flush(id: number): Promise<void> {
    this.call(id, 'flush');
    await this.until(() => this.lines.some((line) => line.includes(`"id":${id},`)));
  }

  protected wake(note: () => void): void {
    note();
    for (const resolve of this.#woken) resolve();
    this.#woken.clear();
  }
}

/** A fake server at the other end of a socket. */
async function overSocket(rule: FaultRule): Promise<Peer> {
  const server = closeAfter(fakeServer({ name: 's', plan: { rules: [rule] } }));
  const listener = createServer((socket) => void server.serve(socket, socket));
  listener.listen(join(tempFolder(), 'socket'));
  await once(listener, 'listening');
  const socket = connect(listener.address() as string);
  closeAfter({
    close: async () => {
      listener.close();
      socket.destroy();
      await once(listener, 'close');
    },
  });
  return new Peer(socket, socket);
}

/** A fake server as a child. */
class Child extends Peer {
  readonly process: ChildProcessWithoutNullStreams;
  stderr = '';
  /** Code or signal, once it has ended. */
  exit: unknown;

  constructor(...rules: readonly FaultRule[]) {
    const { command, args } = fakeServerCommand({ name: 's', plan: { rules } });
    const child = spawn(command, args);
    super(child.stdout, child.stdin);
    this.process = child;
    child.stderr.setEncoding('utf8').on('data', (text: string) =>
      this.wake(() => {
        this.stderr += text;
      }),
    );
    child.on('exit', (code, signal) =>
      this.wake(() => {
        this.exit = signal ?? code;
      }),
    );
    closeAfter({
      close: async () => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const gone = once(child, 'close');
        child.kill('SIGKILL');
        await gone;
      },
    });
  }
}

/** The rule whose calls are told by their text. */
const on = (fault: Fault, settings: Partial<FaultRule> = {}): FaultRule => ({
  fault,
  params: { arguments: { text: fault } },
  ...settings,
});

const answerTo = (id: number, text: string): string =>
  `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"${text}"}]}}`;

const readable = (fd: string): boolean => readFileSync(`/proc/${fd}/status`, 'utf8').includes('State');

/** Faults that leave the process as it is: one child for all of them. */
const MESSAGES: Readonly<
  Partial<Record<Fault, { settings?: Partial<FaultRule>; see: (child: Peer) => Promise<void> }>>
> = {
  delay: {
    // Longer than a busy machine takes for the answer that comes ahead of it.
    settings: { delayMs: 500 },
    see: async (child) => {
      child.call(1, 'delay');
      await child.flush(2);
      expect(child.text).not.toContain('"id":1,');
      await child.until(() => child.text.includes(answerTo(1, 'delay')));
    },
  },
  drop: { see: (child) => silent(child, 'drop') },
  dropAnswer: { see: (child) => silent(child, 'dropAnswer') },
  hang: { see: (child) => silent(child, 'hang') },
  duplicate: {
    see: async (child) => {
      child.call(1, 'duplicate');
      await child.flush(2);
      expect(child.lines.slice(0, 2)).toEqual([answerTo(1, 'duplicate'), answerTo(1, 'duplicate')]);
    },
  },
  outOfOrder: {
    settings: { delayMs: 60_000 },
    see: async (child) => {
      child.call(1, 'outOfOrder');
      child.call(2, 'next');
      await child.until(() => child.lines.length === 2);
      expect(child.lines).toEqual([answerTo(2, 'next'), answerTo(1, 'outOfOrder')]);
    },
  },
  wrongId: {
    see: async (child) => {
      await child.flush(1);
      child.call(2, 'wrongId');
      await child.flush(3);
      expect(child.lines[1]).toMatch(/"result".*wrongId.*"id":1\}|"id":1,"result".*wrongId/);
    },
  },
  unknownId: {
    see: async (child) => {
      child.call(1, 'unknownId');
      await child.flush(2);
      expect([child.lines[0]?.includes('987654321'), child.text.includes('"id":1,')]).toEqual([true, false]);
    },
  },
  coalesce: {
    see: async (child) => {
      child.call(1, 'coalesce');
      await child.until(() => child.lines.length === 2);
      expect(child.chunks.map((chunk) => chunk.toString().split('\n').length - 1)).toEqual([2]);
      expect(child.lines[0]).toContain('notifications/message');
    },
  },
  splitCharacter: {
    settings: { params: { arguments: { text: 'grüße' } } },
    see: async (child) => {
      const isSplit = (): boolean => child.chunks.some((chunk) => chunk.at(-1) === 0xc3);
      // A reader that is held up gets both halves at once.
      for (let id = 1; id <= 5 && !isSplit(); id++) {
        child.call(id, 'grüße');
        await child.until(() => child.lines.length === id);
        expect(child.lines[id - 1]).toEqual(answerTo(id, 'grüße'));
      }
      expect(isSplit()).toBe(true);
    },
  },
  oversize: {
    settings: { bytes: 300_000 },
    see: async (child) => {
      child.call(1, 'oversize');
      await child.until(() => child.lines.length === 1);
      expect(child.text.length).toBeGreaterThan(300_000);
    },
  },
  garbage: {
    settings: { count: 2 },
    see: async (child) => {
      child.call(1, 'garbage');
      await child.until(() => child.lines.length === 3);
      expect(child.lines).toEqual(['[info] listening', 'Debugger attached.', answerTo(1, 'garbage')]);
    },
  },
  corrupt: {
    see: async (child) => {
      child.call(1, 'corrupt');
      await child.flush(2);
      expect(child.lines[0]).toBe('{"jsonrpc":"2.0","id":1}');
    },
  },
  lie: {
    see: async (child) => {
      child.call(1, 'lie');
      await child.until(() => child.lines.length === 1);
      expect(child.lines[0]).toBe(answerTo(1, 'eil (a lie)'));
    },
  },
  error: {
    settings: { code: -32001, message: 'no' },
    see: async (child) => {
      child.call(1, 'error');
      await child.until(() => child.lines.length === 1);
      expect(child.lines[0]).toBe('{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}');
    },
  },
  listChangedStorm: {
    settings: { count: 30 },
    see: async (child) => {
      child.call(1, 'listChangedStorm');
      await child.until(() => child.lines.length === 31);
      expect(child.lines.filter((line) => line.includes('tools/list_changed'))).toHaveLength(30);
    },
  },
  ignoreCancel: {
    see: async (child) => {
      child.call(1, 'ignoreCancel', 'sleep', { ms: 30 });
      child.send({ method: 'notifications/cancelled', params: { requestId: 1 } });
      await child.until(() => child.text.includes(answerTo(1, 'slept')));
    },
  },
  answerAfterCancel: {
    see: async (child) => {
      child.call(1, 'answerAfterCancel');
      await child.flush(2);
      expect(child.text).not.toContain('"id":1,');
      child.send({ method: 'notifications/cancelled', params: { requestId: 1 } });
      await child.until(() => child.text.includes(answerTo(1, 'answered after it was cancelled')));
    },
  },
  endlessInputRequired: {
    see: async (child) => {
      child.call(1, 'endlessInputRequired');
      await child.until(() => child.lines.length === 1);
      expect(child.lines[0]).toContain('"resultType":"input_required"');
    },
  },
  progressAfterAnswer: {
    see: async (child) => {
      child.call(1, 'progressAfterAnswer');
      await child.until(() => child.lines.length === 2);
      expect(child.lines[1]).toContain('notifications/progress');
    },
  },
  endlessRequests: {
    see: async (child) => {
      child.call(1, 'endlessRequests');
      for (let asked = 1; asked < 4; asked++) {
        await child.until(() => child.lines.length === asked);
        const { id, method } = JSON.parse(child.lines[asked - 1] ?? '{}') as { id: string; method: string };
        expect(method).toBe('roots/list');
        child.send({ id, result: { roots: [] } });
      }
    },
  },
  silentPing: { see: (child) => silent(child, '', { method: 'ping' }) },
  silentUnknown: { see: (child) => silent(child, '', { method: 'no/such' }) },
  endlessCursor: {
    see: async (child) => {
      child.send({ id: 1, method: 'tools/list' });
      await child.until(() => child.lines.length === 1);
      expect(child.lines[0]).toContain('"nextCursor":"endless-');
    },
  },
  vanishTool: {
    settings: { of: 'echo' },
    see: async (child) => {
      child.send({ id: 1, method: 'tools/list' });
      child.call(2, 'gone');
      await child.until(() => child.lines.length === 2);
      expect([child.lines[0]?.includes('"echo"'), child.lines[1]?.includes('-32602')]).toEqual([false, true]);
    },
  },
  changeSchema: {
    settings: { of: 'sleep' },
    see: async (child) => {
      child.send({ id: 1, method: 'tools/list' });
      await child.until(() => child.lines.length === 1);
      expect(child.lines[0]).toContain('"required":["added"]');
    },
  },
};

/** No answer comes, and the process serves on. */
async function silent(child: Peer, text: string, message?: object): Promise<void> {
  if (message === undefined) child.call(1, text);
  else child.send({ id: 1, ...message });
  await child.flush(2);
  expect(child.text).not.toContain('"id":1');
}

/** Faults of the process itself: each has a child of its own. */
const PROCESSES: Readonly<Partial<Record<Fault, (child: Child) => Promise<void>>>> = {
  async stderrFlood(child) {
    child.call(1, 'stderrFlood');
    await child.until(() => child.lines.length === 1 && child.stderr.length >= 2 ** 20);
    expect(child.lines).toEqual([answerTo(1, 'stderrFlood')]);
  },
  async leakMemory(child) {
    const rss = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.process.pid}/status`, 'utf8'))?.[1]) * 1_024;
    await child.flush(1);
    const before = rss();
    child.call(2, 'leakMemory');
    await child.until(() => child.lines.length === 2);
    expect(rss() - before).toBeGreaterThan(8 * 2 ** 20);
  },
  async stallEventLoop(child) {
    await child.flush(1);
    const startMs = performance.now();
    child.call(2, 'stallEventLoop');
    child.call(3, 'behind it');
    await child.until(() => child.lines.length === 3);
    expect(performance.now() - startMs).toBeGreaterThan(198);
  },
  async stall(child) {
    await child.flush(1);
    child.call(2, 'stall');
    child.call(3, 'after');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([child.lines.length, child.exit, child.ended]).toEqual([1, undefined, false]);
  },
  async truncate(child) {
    child.call(1, 'truncate');
    await child.until(() => child.ended && child.exit !== undefined);
    expect(answerTo(1, 'truncate').startsWith(child.text)).toBe(true);
    expect([child.text.length > 10, child.exit]).toEqual([true, 1]);
  },
  async crash(child) {
    child.call(1, 'crash');
    await child.until(() => child.ended && child.exit !== undefined);
    expect([child.text, child.exit]).toEqual(['', 'SIGKILL']);
  },
  async exit(child) {
    child.call(1, 'exit');
    await child.until(() => child.ended && child.exit !== undefined);
    expect([child.text, child.exit]).toEqual(['', 1]);
  },
  async refuse(child) {
    await child.until(() => child.exit !== undefined && child.stderr !== '');
    expect([child.text, child.stderr, child.exit]).toEqual(['', 'the fault plan refused it\n', 3]);
  },
  async slowStart(child) {
    const startMs = performance.now();
    await child.flush(1);
    expect(performance.now() - startMs).toBeGreaterThan(498);
  },
  async noise(child) {
    await child.flush(1);
    expect(child.lines.slice(0, 3)).toEqual(['[info] listening', 'Debugger attached.', '{"half": ']);
  },
  async deaf(child) {
    await child.flush(1);
    child.process.kill('SIGTERM');
    child.process.stdin.end();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([child.exit, readable(String(child.process.pid))]).toEqual([undefined, true]);
  },
  async daemon(child) {
    await child.flush(1);
    const { pid = 0 } = child.process;
    const [forked = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    const group = Number(readFileSync(`/proc/${forked}/stat`, 'utf8').split(' ')[4]);
    // It leads a session of its own, and outlives its parent.
    expect(group).toBe(Number(forked));
    const gone = once(child.process, 'exit');
    child.process.kill('SIGKILL');
    await gone;
    expect(readable(forked)).toBe(true);
    process.kill(Number(forked), 'SIGKILL');
  },
  async stopReading(child) {
    child.call(1, 'stopReading');
    await child.until(() => child.lines.length === 1);
    child.call(2, 'x'.repeat(4_000_000));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([child.lines.length, child.process.stdin.writableLength > 0]).toEqual([1, true]);
  },
  async closeOutput(child) {
    child.call(1, 'closeOutput');
    await child.until(() => child.ended);
    expect([child.text, child.exit, readable(String(child.process.pid))]).toEqual(['', undefined, true]);
  },
};

test('every fault of stdio is looked at', () => {
  const named = FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('stdio'));
  expect([...Object.keys(MESSAGES), ...Object.keys(PROCESSES)].sort()).toEqual([...named].sort());
});

for (const [fault, { settings, see }] of Object.entries(MESSAGES)) {
  test(`${fault}, byte for byte`, async () => {
    const name = fault as Fault;
    const about = FAULTS[name].methods === undefined ? on(name, settings) : { fault: name, ...settings };
    await see(await overSocket(about));
  });
}

for (const [fault, see] of Object.entries(PROCESSES)) {
  test(`${fault}, as its process shows it`, async () => {
    const start = FAULTS[fault as Fault].scope === 'start';
    await see(new Child(start ? { fault: fault as Fault } : on(fault as Fault)));
  });
}
