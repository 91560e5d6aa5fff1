import { resolve } from 'node:path';
import { MultiServerRateLimiter } from 'mcp-poolkit/concurrent';
import { Gateway, type StatusData } from 'mcp-poolkit/gateway';
import { type LogFn, type Logger, UnifiedPool } from 'mcp-poolkit/pool';
import { check, History, type HistoryEvent, record } from 'mcp-poolkit/testing';
import parse from 'parse-prometheus-text-format';
import { expect, test } from 'vitest';
import { observe } from '../../examples/observe.js';
import { closeAfter } from '../support/closeAfter.js';

type Counts = Record<string, number>;

function add(counts: Counts, ...of: readonly unknown[]): void {
  const key = of.join(' ');
  counts[key] = (counts[key] ?? 0) + 1;
}

/** Calls that ended, by server and outcome, as the recorder wrote them down. */
function countsOf(events: readonly HistoryEvent[]): Counts {
  const servers = new Map<string, string>();
  const counts: Counts = {};
  for (const event of events) {
    if (event.type === 'invoke') servers.set(event.call, event.server);
    else if (event.type === 'answer') add(counts, servers.get(event.call), 'ok');
    else if (event.type === 'failure') {
      const known = event.code.startsWith('ERR_');
      add(counts, servers.get(event.call), known ? event.code : 'ABORTED');
    }
  }
  return counts;
}

/** Results with `isError` are answers to the recorder. */
const answered = (outcome: unknown): unknown => (outcome === 'tool_error' ? 'ok' : outcome);

test('a slow, a crashing and a rate-limited server: metrics, spans, logs, page and the recorder count the same', async () => {
  const lines: Record<string, unknown>[] = [];
  const write = ((fields: Record<string, unknown>) => void lines.push(fields)) as LogFn;
  const logger: Logger = { trace: write, debug: write, info: write, warn: write, error: write };
  const limiter = closeAfter(
    new MultiServerRateLimiter({
      maxRequests: 1_000,
      windowMs: 50,
      perServer: { limited: { maxRequests: 5, windowMs: 50, maxQueue: 3 } },
    }),
  );
  const bare = closeAfter(
    new UnifiedPool({
      limiter,
      ledger: false,
      backoff: { initialMs: 1, maxMs: 5 },
      stableAfterMs: 0,
      breakerThreshold: Number.POSITIVE_INFINITY,
    }),
  );
  const args = [resolve('test/fixtures/status-server.mjs')];
  for (const name of ['slow', 'crashing', 'limited']) {
    bare.addServer({ name, transport: 'stdio', command: process.execPath, args });
  }
  const observed = await observe(bare, logger);
  const gateway = closeAfter(new Gateway({ pool: bare, port: 0, status: { metrics: true } }));
  const { url } = await gateway.listen();
  const history = new History();
  const pool = record(bare, history);

  const calls: Promise<unknown>[] = [];
  const call = (server: string, tool: string, given: object = {}, options: object = {}): void => {
    calls.push(pool.callTool(server, tool, given as never, options).catch(() => undefined));
  };
  for (let i = 0; i < 60; i++) {
    // Beyond any pause of this process: the answer comes long after the timeout.
    if (i % 10 === 0) call('slow', 'slow', { ms: 500 }, { timeoutMs: 5 });
    else call('slow', 'slow', { ms: 20 });
    if (i % 6 === 0) call('slow', 'slow', { ms: 500 }, { signal: AbortSignal.timeout(30) });
    call('crashing', i % 15 === 7 ? 'crash' : 'echo', {}, { idempotent: i % 2 === 0 });
    call('limited', i % 5 === 0 ? 'fail' : 'echo');
    // In waves: a crash finds some calls in flight and not all of them.
    if (i % 20 === 19) await Promise.all(calls);
  }
  await Promise.all(calls);

  const expected = countsOf(history.events);
  expect(Object.values(expected).reduce((sum, count) => sum + count, 0)).toBe(calls.length);
  expect(Object.keys(expected)).toEqual(
    expect.arrayContaining([
      'slow ok',
      'slow ABORTED',
      'slow ERR_REQUEST_TIMEOUT',
      'crashing ERR_OUTCOME_UNKNOWN',
      'limited ok',
      'limited ERR_RPC',
      'limited ERR_QUEUE_FULL',
    ]),
  );

  const metrics: Counts = {};
  const scraped = parse(await observed.metrics()) as {
    readonly name: string;
    readonly metrics: readonly { readonly labels: Record<string, string>; readonly value: string }[];
  }[];
  const samples = (name: string) => scraped.find((family) => family.name === name)?.metrics ?? [];
  for (const { labels, value } of samples('mcp_poolkit_calls_total')) {
    const key = `${labels['server']} ${answered(labels['outcome'])}`;
    metrics[key] = (metrics[key] ?? 0) + Number(value);
  }
  expect(metrics).toEqual(expected);

  const spans: Counts = {};
  const finished = observed.spans.getFinishedSpans();
  for (const { name, attributes } of finished) {
    const { 'error.type': type = 'ok', 'mcp_poolkit.server': server } = attributes;
    if (name.startsWith('call '))
      add(spans, server, typeof type === 'string' && /^-?\d+$/.test(type) ? 'ERR_RPC' : type);
  }
  expect(spans).toEqual(expected);

  const logged: Counts = {};
  for (const { event, server, outcome } of lines) {
    if (event === 'call.done' || event === 'call.failed') add(logged, server, answered(outcome));
  }
  expect(logged).toEqual(expected);

  const { snapshot } = (await (await fetch(`${url}/status/data.json`)).json()) as StatusData;
  for (const { name, calls: ended, errors, inFlight, waiting, restarts } of snapshot.servers) {
    const own = Object.entries(expected).filter(([key]) => key.startsWith(`${name} `));
    const failed = own.filter(([key]) => !/ (ok|ERR_RPC|ABORTED)$/.test(key));
    const sum = (of: readonly (readonly [string, number])[]): number => of.reduce((all, [, count]) => all + count, 0);
    expect([name, ended, errors, inFlight, waiting]).toEqual([name, sum(own), sum(failed), 0, 0]);
    const restarted = samples('mcp_poolkit_restarts_total').filter(({ labels }) => labels['server'] === name);
    expect(restarted.reduce((all, { value }) => all + Number(value), 0)).toBe(restarts);
    const started = lines.filter(({ event, server }) => event === 'server.restarted' && server === name);
    expect(started).toHaveLength(restarts);
  }
  // Sends: those of the spans are the calls that were sent and the retries of them.
  const attempts = finished.filter(({ attributes }) => attributes['mcp_poolkit.attempt'] !== undefined);
  expect(lines.filter(({ event }) => event === 'call.sent')).toHaveLength(attempts.length);
  const retries = samples('mcp_poolkit_retries_total').reduce((all, { value }) => all + Number(value), 0);
  expect(lines.filter(({ event }) => event === 'call.retried')).toHaveLength(retries);
  expect(attempts.filter(({ attributes }) => Number(attributes['mcp_poolkit.attempt']) > 1).length).toBe(retries);
  expect(retries).toBeGreaterThan(0);
  check(history).assert();
  await observed.close();
});
