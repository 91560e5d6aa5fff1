import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { closeAfter } from '../support/closeAfter.js';
import { type Answer, HttpClient } from '../support/http.js';
import { Program, runnable } from '../support/program.js';

/** A program that is to stop without dropping a request. */
interface Subject {
  readonly start: (propagationMs: number) => Promise<Program>;
  /** A request that takes `ms`. */
  readonly ask: (client: HttpClient, url: string, id: number, ms: number) => Promise<Answer>;
  /** Whether an answer is that of request `id`. */
  readonly isAnswer: (answer: Answer, id: number) => boolean;
}

const subjects: Readonly<Record<string, Subject>> = {
  'examples/worker-service.ts': {
    start: async (propagationMs) => {
      const folder = mkdtempSync(join(tmpdir(), 'poolkit-'));
      closeAfter({ close: async () => rmSync(folder, { recursive: true }) });
      const env = { PORT: '0', PROPAGATION_MS: String(propagationMs), DATABASE: join(folder, 'orders.jsonl') };
      return new Program(await runnable('worker-service.ts'), { env });
    },
    ask: (client, url, id, ms) => client.ask(`${url}/?id=${id}&ms=${ms}`),
    isAnswer: ({ status, body }, id) => status === 200 && body === `order ${id} is placed\n`,
  },
};

const code = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

for (const [name, { start, ask, isAnswer }] of Object.entries(subjects)) {
  test(`${name}: 50 slow requests, SIGTERM in the middle: all are answered, new ones served, then refused`, async () => {
    const program = await start(400);
    const url = (await program.line(/listening on (http:\S+)/))[1] ?? '';
    const kept = new HttpClient(1);
    expect(isAnswer(await ask(kept, url, 900, 0), 900)).toBe(true);
    expect(isAnswer(await ask(kept, url, 901, 0), 901)).toBe(true);
    expect(kept.sockets).toBe(1);

    const client = new HttpClient();
    let middle: () => void = () => undefined;
    const half = new Promise<void>((resolve) => {
      middle = resolve;
    });
    let answered = 0;
    const calls = Array.from({ length: 50 }, async (_, id) => {
      const answer = await ask(client, url, id, id < 25 ? 20 + id * 10 : 4_000);
      if (++answered === 25) middle();
      return isAnswer(answer, id);
    });
    await half;
    program.kill('SIGTERM');
    await program.line(/stopping/);

    // Unready at once, and still serving while that spreads.
    const probe = new HttpClient();
    expect((await probe.ask(`${url}/readyz`)).status).toBe(503);
    expect((await probe.ask(`${url}/livez`)).status).toBe(200);
    const served = await ask(probe, url, 902, 0);
    expect(isAnswer(served, 902)).toBe(true);
    expect(served.headers.connection).toBe('close');

    // Then refused: new connections by the system, kept ones with 503.
    let refused: string | undefined;
    while (refused === undefined) refused = await ask(new HttpClient(), url, 903, 0).then(() => undefined, code);
    expect(refused).toBe('ECONNREFUSED');
    const answer = await ask(kept, url, 904, 0);
    expect([answer.status, answer.headers.connection]).toEqual([503, 'close']);

    expect(await Promise.all(calls)).toEqual(Array(50).fill(true));
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(program.output).toMatch(/shutdown \(SIGTERM\): \d+ of 30000 ms, exit code 0\n/);
    expect(program.output).toMatch(/unready +propagation delay +ok/);
    expect(program.stderr).toBe('');
  });
}

test('examples/worker-service.ts: what was answered is in the database', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-'));
  closeAfter({ close: async () => rmSync(folder, { recursive: true }) });
  const database = join(folder, 'orders.jsonl');
  const program = new Program(await runnable('worker-service.ts'), { env: { PORT: '0', DATABASE: database } });
  const url = (await program.line(/listening on (http:\S+)/))[1] ?? '';
  const client = new HttpClient();
  const calls = Array.from({ length: 20 }, (_, id) => client.ask(`${url}/?id=${id}&ms=300`));
  const ready = await client.ask(`${url}/readyz`);
  expect(JSON.parse(ready.body)).toMatchObject({ ok: true, checks: [{ name: 'database', ok: true, critical: true }] });
  program.kill('SIGINT');
  const statuses = (await Promise.all(calls)).map((answer) => answer.status);
  expect(await program.exited).toEqual({ code: 0, signal: null });
  const rows = readFileSync(database, 'utf8').trim().split('\n');
  expect([rows.length, statuses]).toEqual([20, Array(20).fill(200)]);
});
