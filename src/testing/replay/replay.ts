import type { ServerRequest } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { messageOf, OptionError, RpcError } from '../../core/errors.js';
import { checkArray, checkMs, checkOptions, checkPart, checkText, withDefaults } from '../../core/options.js';
import type { McpPool, RequestOptions } from '../../pool/McpPool.js';
import { check } from '../history/check.js';
import { History } from '../history/History.js';
import type { HistoryEvent } from '../history/HistoryEvent.js';
import type { Verdict } from '../history/Verdict.js';
import { isRequest, type RpcMessage } from '../wire/messages.js';
import { differences, shown } from './differences.js';
import { type Exchange, exchangesOf, tokenOf } from './exchanges.js';
import { inOrder } from './inOrder.js';
import { plain, plainParams } from './meta.js';
import { Notices } from './Notices.js';

export interface ReplayOptions {
  /** Paths that may differ, with `*` for any characters: `result.content.*.text`, `result._meta.*`. @defaultValue none */
  readonly ignore?: readonly string[];
  /** How long one call may take, in ms, from 1. @defaultValue 30000 */
  readonly timeoutMs?: number;
  /** How long notifications that were recorded may take to come after the last answer, in ms, from 0. @defaultValue 1000 */
  readonly settleMs?: number;
}

export const REPLAY_DEFAULTS = Object.freeze({ timeoutMs: 30_000, settleMs: 1_000 });

/** What the pool does by itself, in its own way. */
const OF_THE_POOL: ReadonlySet<string> = new Set(['initialize', 'server/discover', 'ping']);

/**
 * Sends what the clients of a recording sent again, to `server` of `pool`, and compares what comes: answers, errors,
 * progress, what the server asks (it gets the recorded replies) and its notifications. A call goes out once those that had
 * been answered before it in the recording are. The verdict is guilty of `diverged` where something differs. Each recorded
 * connection is a caller of its own, with a connection of its own where the server is `bound`.
 * @throws OptionError when nothing is recorded
 */
export async function replay(
  recording: History,
  pool: McpPool,
  server: string,
  options: ReplayOptions = {},
): Promise<Verdict> {
  checkArray('recording', checkOptions('recording', recording, 'a History').events, 'a History');
  checkPart('pool', pool, ['request', 'on'], 'a pool of servers');
  checkText('server', server);
  const all = withDefaults('replay', options, REPLAY_DEFAULTS, { ignore: true });
  const ignore = all.ignore ?? [];
  if (!Array.isArray(ignore)) throw new OptionError('ignore', ignore, 'an array of paths');
  checkMs('timeoutMs', all.timeoutMs, { min: 1 });
  checkMs('settleMs', all.settleMs);
  const exchanges = exchangesOf(recording.events);
  const replayer = new Replayer(pool, server, { ...all, ignore }, new Notices(exchanges, ignore));
  return replayer.run(exchanges, recording.events);
}

interface Settings {
  readonly ignore: readonly string[];
  readonly timeoutMs: number;
  readonly settleMs: number;
}

class Replayer {
  readonly #pool: McpPool;
  readonly #server: string;
  readonly #settings: Settings;
  readonly #history = new History();
  readonly #notices: Notices;

  constructor(pool: McpPool, server: string, settings: Settings, notices: Notices) {
    this.#pool = pool;
    this.#server = server;
    this.#settings = settings;
    this.#notices = notices;
  }

  async run(exchanges: readonly Exchange[], events: readonly HistoryEvent[]): Promise<Verdict> {
    const listening = this.#pool.on('notification', ({ server, notice }) => {
      if (server === this.#server) this.#notices.hear(notice);
    });
    try {
      await inOrder(exchanges, (exchange) => this.#exchange(exchange));
      await this.#notices.settled(this.#settings.settleMs);
      for (const each of this.#notices.divergences()) this.#diverged(each);
    } finally {
      listening[Symbol.dispose]();
    }
    this.#history.end();
    return check(this.#history, { label: `replay of ${events.length} events` });
  }

  async #exchange(exchange: Exchange): Promise<void> {
    const { request, answer, steps, cancelledAfterMs, wire } = exchange;
    const { method } = request;
    const caller = { key: wire };
    if (OF_THE_POOL.has(method)) {
      if (method === 'initialize') await this.#handshake(exchange);
      return;
    }
    const call = this.#history.nextCall();
    const server = this.#server;
    const tool = request.params?.['name'];
    this.#history.add({ type: 'invoke', call, server, method, ...(typeof tool === 'string' && { tool }) });
    const progress: object[] = [];
    const asked = steps.filter(({ message }) => isRequest(message));
    const control = new AbortController();
    // What was never answered is not waited for: it was cancelled, or the recording ends before.
    const { settleMs, timeoutMs } = this.#settings;
    const patienceMs = Math.min(cancelledAfterMs ?? settleMs, timeoutMs);
    const timer = answer === undefined ? setTimeout(() => control.abort(), patienceMs) : undefined;
    const options: RequestOptions = {
      caller,
      timeoutMs,
      signal: control.signal,
      onNotification: (notice) => this.#notices.hear(notice),
      onRequest: (got) => this.#reply(call, asked, got),
      ...(tokenOf(request) !== undefined && {
        onProgress: ({ progressToken: _, ...each }) => void progress.push(each),
      }),
    };
    const got = await this.#send(method, plain(request.params), options, control.signal);
    clearTimeout(timer);
    if (got === undefined) {
      this.#history.add({ type: 'failure', call, code: 'AbortError' });
      if (answer !== undefined) this.#diverged(`${method}: it was not answered`, call);
      return;
    }
    this.#history.add({ type: 'answer', call });
    if (answer === undefined) this.#diverged(`${method} was not answered, and is now: ${shown(got)}`, call);
    else this.#compare(call, method, outcomeOf(answer), got);
    const recorded = steps.flatMap(({ message }) =>
      message.method === 'notifications/progress' ? [withoutToken(message.params)] : [],
    );
    this.#compare(call, `${method}: progress`, recorded, progress);
    for (const { message } of asked) this.#diverged(`${method}: the server did not ask ${message.method}`, call);
  }

  /** What came of it; undefined: it was given up. */
  async #send(
    method: string,
    params: RpcMessage['params'],
    options: RequestOptions,
    signal: AbortSignal,
  ): Promise<object | undefined> {
    try {
      return { result: plain(await this.#pool.request(this.#server, method, params, options)) };
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!(error instanceof RpcError)) return { error: { failed: messageOf(error) } };
      const { rpcCode: code, message, data } = error;
      return { error: { code, message, ...(data !== undefined && { data }) } };
    }
  }

  /** The recorded reply to what the server asks, in its order. */
  async #reply(
    call: string,
    asked: { message: RpcMessage; reply?: RpcMessage }[],
    got: ServerRequest,
  ): Promise<unknown> {
    const place = asked.findIndex(({ message }) => message.method === got.method);
    const [step] = place < 0 ? [] : asked.splice(place, 1);
    if (step === undefined) {
      this.#diverged(`the server asked ${got.method}, which is not in the recording`, call);
      throw new RpcError(this.#server, RPC_CODES.methodNotFound, `${got.method} is not in the recording`);
    }
    this.#compare(call, `the server's ${got.method}`, plainParams(step.message.params), plainParams(got.params));
    const { result, error } = step.reply ?? {
      error: { code: RPC_CODES.internalError, message: 'it had no reply in the recording' },
    };
    if (error === undefined || error === null) return result;
    const {
      code = RPC_CODES.internalError,
      message = 'refused',
      data,
    } = error as { code?: number; message?: string; data?: unknown };
    throw new RpcError(this.#server, code, message, data);
  }

  async #handshake({ answer, wire }: Exchange): Promise<void> {
    if (answer?.result === undefined) return;
    await this.#send('ping', undefined, { caller: { key: wire } }, NEVER);
    const info = this.#pool.info(this.#server, { key: wire });
    const { era: _, ...got } = info ?? { era: undefined };
    const recorded = Object.fromEntries(Object.entries(answer.result as object).filter(([key]) => key !== '_meta'));
    let result: unknown = got;
    try {
      result = JSON.parse(JSON.stringify(got));
    } catch {
      // Nested too deep: what is not there counts as a difference then.
    }
    this.#compare(undefined, 'initialize', { result: recorded }, { result });
  }

  #compare(call: string | undefined, what: string, recorded: unknown, got: unknown): void {
    for (const line of differences(recorded, got, this.#settings.ignore)) this.#diverged(`${what}: ${line}`, call);
  }

  #diverged(what: string, call?: string): void {
    this.#history.add({ type: 'divergence', server: this.#server, what, ...(call !== undefined && { call }) });
  }
}

const NEVER = new AbortController().signal;

function outcomeOf({ result, error }: RpcMessage): object {
  return error === undefined || error === null ? { result: plain(result) } : { error };
}

function withoutToken(params: RpcMessage['params']): object {
  const { progressToken: _, ...rest } = plain(params ?? {}) as { readonly progressToken?: unknown };
  return rest;
}
