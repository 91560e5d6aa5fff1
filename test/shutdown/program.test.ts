import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { expect, test, vi } from 'vitest';
import { type Answer, HttpClient } from '../support/http.js';
import { descendantsOf, isAlive } from '../support/processes.js';
import { Program, runnable } from '../support/program.js';
import { tempFolder } from '../support/tempFolder.js';

// Children take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

/** A program that is to stop without dropping a request. */
interface Subject {
  readonly start: (propagationMs: number) => Promise<Program>;
  /** A request that takes `ms`. */
  readonly ask: (client: HttpClient, url: string, id: number, ms: number) => Promise<Answer>;
  /** Whether an answer is that of request `id`. */
  readonly isAnswer: (answer: Answer, id: number) => boolean;
  /** Processes that it runs. */
  readonly children: number;
}

const subjects: Readonly<Record<string, Subject>> = {
  'examples/worker-service.ts': {
    start: async (propagationMs) => {
      const env = { PORT: '0', PROPAGATION_MS: String(propagationMs), DATABASE: join(tempFolder(), 'orders.jsonl') };
      return new Program(await runnable('worker-service.ts'), { env });
    },
    ask: (client, url, id, ms) => client.ask(`${url}/?id=${id}&ms=${ms}`),
    isAnswer: ({ status, body }, id) => status === 200 && body === `order ${id} is placed\n`,
    children: 0,
  },
  'examples/custom-proxy.ts': {
    start: async (propagationMs) => {
      const env = { PORT: '0', PROPAGATION_MS: String(propagationMs), XDG_CACHE_HOME: tempFolder() };
      return new Program(await runnable('custom-proxy.ts'), { env });
    },
    ask: (client, url, id, ms) => {
      const params = { name: 'trigger-long-running-operation', arguments: { duration: ms / 1_000, steps: 1 } };
      return client.ask(`${url}/everything`, { method: 'POST', body: rpc(id, 'tools/call', params) });
    },
    isAnswer: ({ status, body }, id) =>
      status === 200 && /operation completed/.test(body) && JSON.parse(body).id === id,
    children: 2,
  },
};

const rpc = (id: number, method: string, params = {}): string => JSON.stringify({ jsonrpc: '2.0', id, method, params });

const code = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

for (const [name, { start, ask, isAnswer, children }] of Object.entries(subjects)) {
  test(`${name}: 50 slow requests, SIGTERM in the middle: all are answered, new ones served, then refused`, async () => {
    const program = await start(1_500);
    const url = (await program.line(/listening on (http:\S+)/))[1] ?? '';
    const descendants = descendantsOf(program.pid);
    expect(descendants.length).toBeGreaterThanOrEqual(children);
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
      const answer = await ask(client, url, id, id < 25 ? 20 + id * 10 : 4_500);
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
    const refusals: string[] = [];
    while (!refusals.includes('ECONNREFUSED')) {
      await ask(new HttpClient(), url, 903, 0).catch((error: unknown) => refusals.push(code(error)));
    }
    // One that the system had accepted, and the process had not yet, is reset by the system.
    expect(refusals.filter((each) => each !== 'ECONNREFUSED' && each !== 'ECONNRESET')).toEqual([]);
    const answer = await ask(kept, url, 904, 0);
    expect([answer.status, answer.headers.connection]).toEqual([503, 'close']);

    expect(await Promise.all(calls)).toEqual(Array(50).fill(true));
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(program.output).toMatch(/shutdown \(SIGTERM\): \d+ of 30000 ms, exit code 0\n/);
    expect(program.output).toMatch(/unready +propagation delay +ok/);
    expect(program.stderr).toBe('');
    expect(descendants.filter(isAlive)).toEqual([]);
  });
}

test('examples/custom-proxy.ts: an official client works with it', async () => {
  const program = new Program(await runnable('custom-proxy.ts'), {
    env: { PORT: '0', XDG_CACHE_HOME: tempFolder() },
  });
  const url = (await program.line(/listening on (http:\S+)/))[1] ?? '';
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/everything`)));
  const { tools } = await client.listTools();
  expect(tools.map((tool) => tool.name)).toContain('echo');
  const result = await client.callTool({ name: 'echo', arguments: { message: 'hello' } });
  expect(JSON.stringify(result)).toContain('hello');
  await client.close();
  const http = new HttpClient();
  const ask = (path: string, body: string, headers = {}) => http.ask(url + path, { method: 'POST', body, headers });
  expect(JSON.parse((await ask('/nobody', rpc(1, 'tools/list'))).body).error.data.code).toBe('ERR_SERVER_NOT_FOUND');
  expect((await ask('/everything', 'not JSON')).status).toBe(400);
  expect((await ask('/everything', rpc(1, 'tools/list'), { Origin: 'http://evil.example' })).status).toBe(403);
  expect((await http.ask(`${url}/readyz`)).status).toBe(200);
  program.kill('SIGINT');
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stderr).toBe('');
});

test('examples/worker-service.ts: what was answered is in the database', async () => {
  const database = join(tempFolder(), 'orders.jsonl');
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
