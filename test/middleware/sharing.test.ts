import { expect, test } from 'vitest';
import type { Middleware } from '../../src/connection/calls/Middleware.js';
import { PoolMiddleware } from '../../src/connection/calls/PoolMiddleware.js';
import type { CallOptions, Params, ServerInfo } from '../../src/connection/protocol/messages.js';
import { systemClock } from '../../src/core/clock.js';
import { RpcError } from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import { cache } from '../../src/middleware/ready/cache.js';
import { coalesce } from '../../src/middleware/ready/coalesce.js';
import { bytes, through } from '../support/throughMiddleware.js';

type Ready = readonly (readonly [string, () => Middleware])[];

const ready: Ready = [
  ['coalesce', () => coalesce({ when: () => true })],
  ['cache', () => cache({ ttlMs: () => 60_000, when: () => true })],
];
const defaults: Ready = [
  ['coalesce()', () => coalesce()],
  ['cache({ ttlMs })', () => cache({ ttlMs: () => 60_000 })],
];

/** At one time for `coalesce`, one after another for `cache`. */
async function all(name: string, calls: readonly (() => Promise<unknown>)[]): Promise<void> {
  if (name === 'coalesce') await Promise.all(calls.map((call) => call()));
  else for (const call of calls) await call();
}

const ELICIT = 'elicitation/create';
type Options = Pick<CallOptions, 'onRequest' | 'client'>;

/** A pool's middleware, in front of what stands for its servers. */
function pool(middleware: Middleware, era?: 'legacy' | 'modern') {
  const passes = new PoolMiddleware({ logger: silentLogger, clock: systemClock }, () =>
    era === undefined ? undefined : ({ era } as ServerInfo),
  );
  passes.use(middleware);
  return passes;
}

/** A client that says who it is when it is asked. */
const client = (who: string, asked: string[]): Options => ({
  onRequest: async () => {
    asked.push(who);
    return { content: { who } };
  },
});

test.each(ready)('%s: what came of asking one client is given to no other', async (name, made) => {
  const passes = pool(made());
  const asked: string[] = [];
  const { signal } = new AbortController();
  let arrived = 0;
  const get = (who: string, server = 's', caller = {}): Promise<unknown> =>
    passes.request(server, 'prompts/get', { name: 'p' }, { ...client(who, asked), caller }, async (_, options) => {
      arrived++;
      await new Promise(setImmediate);
      return server === 'quiet' ? { for: who } : options.onRequest?.({ id: 1, method: ELICIT }, { signal, server });
    });
  const whose = (who: string) => ({ content: { who } });
  // Another server, and another user's calls, are no part of it.
  const apart = ['quiet', 'quiet'].map((server, at) => get(`q${at}`, server));
  const others = ['u1', 'u2'].map((who) => get(who, 'quiet', { principal: 'u' }));
  expect(await Promise.all([get('a'), get('b'), get('c')])).toEqual([whose('a'), whose('b'), whose('c')]);
  expect(await get('d')).toEqual(whose('d'));
  expect(asked.toSorted()).toEqual(['a', 'b', 'c', 'd']);
  const together = name === 'coalesce';
  const quiet = [{ for: 'q0' }, { for: together ? 'q0' : 'q1' }];
  expect(await Promise.all(apart)).toEqual(quiet);
  expect(await Promise.all(others)).toEqual([{ for: 'u1' }, { for: together ? 'u1' : 'u2' }]);
  expect(arrived).toBe(together ? 6 : 8);
});

test('coalesce: who joined a call does not wait for the answer of the other client, nor end its call', async () => {
  const passes = pool(coalesce());
  const { signal } = new AbortController();
  const gone = new AbortController();
  let answer: (value: unknown) => void = () => undefined;
  const away = new Promise<unknown>((resolve) => {
    answer = resolve;
  });
  const get = (onRequest: NonNullable<Options['onRequest']>, own?: AbortSignal) =>
    passes.request('s', 'prompts/get', {}, { onRequest, ...(own && { signal: own }) }, async (_, options) => {
      await new Promise(setImmediate);
      const said = await options.onRequest?.({ id: 1, method: ELICIT }, { signal, server: 's' });
      return { said, ended: options.signal?.aborted === true };
    });
  const first = get(() => away);
  expect(await get(async () => 'b', gone.signal)).toEqual({ said: 'b', ended: false });
  gone.abort();
  // Asked meanwhile: of its own.
  expect(await get(async () => 'c')).toEqual({ said: 'c', ended: false });
  answer('a');
  expect(await first).toEqual({ said: 'a', ended: false });
});

test.each(ready)('%s: a question, a task, and what goes on with one are its caller’s alone', async (_name, made) => {
  let n = 0;
  const answers: Params[] = [
    { resultType: 'input_required', requestState: 'x', ttlMs: 60_000 },
    { requestState: 'x' },
    { resultType: 'task', taskId: 't' },
    { task: { taskId: 't' } },
  ];
  for (const each of answers) {
    for (const write of [bytes, (value: unknown) => value]) {
      const passed = through(made(), async () => write({ ...each, n: ++n }));
      const call = () => passed.call('tools/call', { name: 't' });
      await Promise.all([call(), call(), call()]);
      await call();
      expect([each, passed.asked()]).toEqual([each, 4]);
    }
  }
  for (const params of [{ requestState: 'x' }, { inputResponses: {} }, { task: { ttl: 1 } }]) {
    const passed = through(made(), async () => bytes({ resultType: 'complete', n: ++n }));
    const call = () => passed.call('tools/call', { name: 't', ...params });
    await Promise.all([call(), call()]);
    await call();
    expect([params, passed.asked()]).toEqual([params, 3]);
  }
  // A legacy server asks one client to open a URL.
  const urls = through(made(), async () => Promise.reject(new RpcError('s', -32042, 'open it', { n: ++n })));
  const told = await Promise.allSettled([urls.call('tools/call', {}), urls.call('tools/call', {})]);
  expect(told.map((each) => each.status)).toEqual(['rejected', 'rejected']);
  expect(urls.asked()).toBe(2);
});

test.each(ready)('%s: _meta is part of what is asked, but for progress tokens and traces', async (name, made) => {
  const metas = [
    { 'x.example/for': 'ann', progressToken: 1 },
    { progressToken: 2.5, 'x.example/for': 'ann', traceparent: 't', tracestate: 's' },
    { 'x.example/for': 'bob' },
    { baggage: 'user=ann' },
    undefined,
    { progressToken: 1e300 },
    { traceparent: 't' },
  ];
  for (const written of [false, true]) {
    const passed = through(made(), async () => bytes({}));
    const read = (meta: object | undefined) => (): Promise<unknown> => {
      const params = { uri: 'x:1', ...(meta && { _meta: meta }) };
      return passed.call('resources/read', params, written ? { text: JSON.stringify(params) } : {});
    };
    await all(name, metas.map(read));
    expect([written, passed.asked()]).toEqual([written, 4]);
  }
});

test.each(ready)(
  '%s: the client that a modern server is told of, and whether it can be asked, count',
  async (name, made) => {
    const ann = { capabilities: {}, clientInfo: { name: 'ann', version: '1' } };
    const clients = [{ client: ann }, { client: { capabilities: {} } }, { client: ann, onRequest: async () => ({}) }];
    for (const [era, sent] of [
      ['legacy', 2],
      ['modern', 3],
    ] as const) {
      const passes = pool(made(), era);
      let arrived = 0;
      const send = async (): Promise<object> => ({ n: ++arrived });
      const read = (given: Options) => () => passes.request('s', 'resources/read', { uri: 'x:1' }, { ...given }, send);
      await all(name, [...clients, ...clients].map(read));
      expect([era, arrived]).toEqual([era, sent]);
    }
  },
);

test.each([...ready, ...defaults])(
  '%s takes lists, reads and calls of tools alone, and none on a lease',
  async (_name, made) => {
    const passes = pool(made());
    let sent = 0;
    const send = async (): Promise<object> => ({ n: ++sent });
    const methods = [
      'ping',
      'initialize',
      'server/discover',
      'logging/setLevel',
      'resources/subscribe',
      'tasks/get',
      'x/y',
    ];
    for (const method of methods) {
      const call = () => passes.request('s', method, { taskId: 't' }, { idempotent: true }, send);
      sent = 0;
      await Promise.all([call(), call()]);
      await call();
      expect([method, sent]).toEqual([method, 3]);
    }
    const lease = passes.lease({ server: 's', request: send } as never, undefined) as {
      request(method: string, params: object): Promise<unknown>;
    };
    sent = 0;
    await Promise.all([lease.request('resources/read', {}), lease.request('resources/read', {})]);
    await lease.request('resources/read', {});
    expect(sent).toBe(3);
  },
);
