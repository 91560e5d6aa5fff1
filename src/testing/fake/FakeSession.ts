import { randomUUID } from 'node:crypto';
import type { Params } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { LEGACY_VERSIONS, MODERN_VERSIONS } from '../../connection/protocol/versions.js';
import { messageOf, RpcError } from '../../core/errors.js';
import { epochNow, stampOf } from '../faults/events.js';
import { ACTING_METHODS } from '../faults/rule/FaultRule.js';
import { playSteps } from '../replay/playSteps.js';
import {
  answer,
  failure,
  isAnswer,
  isRequest,
  notice,
  type RpcId,
  type RpcMessage,
  type RpcRequest,
  stamped,
  textResult,
} from '../wire/messages.js';
import type { WireCall } from '../wire/WireCall.js';
import type { FakeCore } from './FakeCore.js';
import { listPage } from './lists.js';
import { runTool } from './runTool.js';

/** What each client says in its own way: where a recording has nothing of it, it is answered as ever. */
const NOT_RECORDED: ReadonlySet<string> = new Set(['initialize', 'server/discover', 'ping', 'logging/setLevel']);

/** Where a session's messages go; `about`: the request they belong to, where they do. */
export type Send = (text: string, about: RpcId | undefined) => void;

/** One client of a fake server, whatever carries its messages. */
export class FakeSession {
  readonly id: string;
  readonly #core: FakeCore;
  readonly #send: Send;
  readonly #running = new Map<RpcId, AbortController>();
  readonly #asked = new Map<RpcId, (reply: RpcMessage) => void>();
  #asks = 0;
  #era: 'legacy' | 'modern';

  constructor(core: FakeCore, id: string, send: Send) {
    this.#core = core;
    this.id = id;
    this.#send = send;
    this.#era = core.settings.era === 'modern' ? 'modern' : 'legacy';
  }

  /** A message of the client's. `call` says what goes wrong with it. */
  receive(message: RpcMessage, call?: WireCall): void {
    if (isRequest(message)) {
      try {
        this.#request(message, call);
      } catch (error) {
        // Nested so deep that it cannot be looked at, for example.
        this.#send(failure(message.id, RPC_CODES.invalidParams, messageOf(error)), message.id);
      }
    } else if (isAnswer(message)) {
      this.#asked.get(message.id)?.(message);
      this.#asked.delete(message.id);
    } else if (message.method === 'notifications/cancelled') this.cancel(message.params?.['requestId'] as RpcId);
  }

  /** The client has given that call up. */
  cancel(id: RpcId): void {
    const running = this.#running.get(id);
    this.#running.delete(id);
    running?.abort(new Error('the call was cancelled'));
  }

  notify(method: string, params?: Params): void {
    this.#send(notice(method, params), undefined);
  }

  close(): void {
    for (const id of [...this.#running.keys()]) this.cancel(id);
    this.#asked.clear();
  }

  #request(request: RpcRequest, call: WireCall | undefined): void {
    const { id, method, params } = request;
    const { settings } = this.#core;
    if (this.#replays(request, call)) return;
    const reply = (result: object): void => this.#send(answer(id, this.#shaped(result)), id);
    const refuse = (code: number, message: string, data?: unknown): void =>
      this.#send(failure(id, code, message, data), id);
    const modern = (params?.['_meta'] as Params | undefined)?.['io.modelcontextprotocol/protocolVersion'] !== undefined;
    if (modern && settings.era !== 'legacy') this.#era = 'modern';
    switch (method) {
      case 'initialize': {
        if (settings.era === 'modern') {
          refuse(RPC_CODES.unsupportedVersion, 'this protocol version is not supported', {
            supported: MODERN_VERSIONS,
          });
          return;
        }
        const asked = params?.['protocolVersion'] as string;
        const protocolVersion = LEGACY_VERSIONS.includes(asked) ? asked : LEGACY_VERSIONS[0];
        reply({ protocolVersion, capabilities: this.#core.settings.capabilities, serverInfo: this.#core.info });
        return;
      }
      case 'server/discover':
        if (settings.era === 'legacy') refuse(RPC_CODES.methodNotFound, `method not found: ${method}`);
        else
          reply({
            supportedVersions: MODERN_VERSIONS,
            capabilities: this.#core.settings.capabilities,
            serverInfo: this.#core.info,
          });
        return;
      case 'ping':
      case 'logging/setLevel':
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        reply({});
        return;
      case 'subscriptions/listen':
        this.#listen(request);
        return;
      case 'tools/call':
      case 'resources/read':
      case 'prompts/get':
      case 'completion/complete':
        void this.#act(request, call);
        return;
      default: {
        const page = listPage(this.#core, method, params?.['cursor']);
        if (page === undefined) refuse(RPC_CODES.methodNotFound, `method not found: ${method}`);
        else reply(page);
      }
    }
  }

  /** In the modern era every result says that it is one. */
  #shaped(result: object): object {
    return this.#era === 'modern' && !('resultType' in result) ? { resultType: 'complete', ...result } : result;
  }

  /** The subscription stays open until it is cancelled. */
  #listen({ id, params }: RpcRequest): void {
    const control = new AbortController();
    this.#running.set(id, control);
    const meta = { 'io.modelcontextprotocol/subscriptionId': id };
    const agreed = { notifications: params?.['notifications'] ?? {}, _meta: meta };
    this.#send(notice('notifications/subscriptions/acknowledged', agreed), id);
    const watch = this.#core.onChange((method) => this.#send(notice(method, { _meta: meta }), id));
    control.signal.addEventListener('abort', () => watch[Symbol.dispose](), { once: true });
  }

  /** Answers from the recording, if there is one; false: this request is answered as ever. */
  #replays(request: RpcRequest, call: WireCall | undefined): boolean {
    const { playback } = this.#core;
    if (playback === undefined) return false;
    const { id, method, params } = request;
    const exchange = playback.take(request);
    if (exchange === undefined) {
      if (NOT_RECORDED.has(method)) return false;
      const what = playback.miss(request);
      this.#core.diverged(what, stampOf(params));
      this.#send(failure(id, RPC_CODES.internalError, `the replay diverged: ${what}`), id);
      return true;
    }
    void this.#doing(request, call, async (signal, stamp) => {
      const answer = await playSteps(exchange, request, {
        stamp,
        signal,
        send: this.#send,
        ask: (asked, given) => this.#ask(id, asked, given, signal),
        diverged: (what) => this.#core.diverged(what, stamp),
      });
      // What was never answered is not answered now either.
      return answer === undefined ? aborted(signal) : JSON.stringify(answer);
    }).then(() => {
      for (const { method: told = '', params: about } of exchange.after) this.notify(told, about);
    });
    return true;
  }

  /** Whatever happens is an answer, or a cancelled call. */
  async #act(request: RpcRequest, call: WireCall | undefined): Promise<void> {
    const { id, method, params } = request;
    const refusal = this.#core.refusal(method, params);
    if (refusal !== undefined) {
      this.#send(failure(id, RPC_CODES.invalidParams, refusal), id);
      return;
    }
    await this.#doing(request, call, async (signal, stamp) => {
      const context = { signal, ...this.#contextOf(request, stamp, signal) };
      const result = await runTool(this.#core, method, params ?? {}, context);
      return answer(id, this.#shaped(stamped(result, stamp)));
    });
  }

  /** Never rejects. */
  async #doing(
    request: RpcRequest,
    call: WireCall | undefined,
    work: (signal: AbortSignal, stamp: string | undefined) => Promise<string>,
  ): Promise<void> {
    const { id, method, params } = request;
    const stamp = stampOf(params);
    const control = new AbortController();
    this.#running.set(id, control);
    const effect = randomUUID();
    const tell = (phase: 'begin' | 'end' | 'cancelled'): void => {
      if (!ACTING_METHODS.has(method)) return;
      const name = params?.['name'];
      this.#core.tell({
        type: 'effect',
        atMs: epochNow(),
        server: this.#core.settings.name,
        pid: process.pid,
        session: this.id,
        ...(stamp !== undefined && { call: stamp }),
        effect,
        method,
        ...(typeof name === 'string' && { tool: name }),
        phase,
      });
    };
    tell('begin');
    // At once: the work may hear of it late, or never.
    control.signal.addEventListener('abort', () => tell('cancelled'), { once: true });
    let text: string;
    try {
      if (call?.injection?.fault === 'hang') await aborted(control.signal);
      text = await work(control.signal, stamp);
    } catch (error) {
      text =
        error instanceof RpcError
          ? failure(id, error.rpcCode, error.message, stampedData(error.data, stamp))
          : answer(id, this.#shaped(stamped({ ...textResult(messageOf(error)), isError: true }, stamp)));
    }
    if (control.signal.aborted) return;
    this.#running.delete(id);
    tell('end');
    this.#send(text, id);
  }

  #contextOf({ id, params }: RpcRequest, stamp: string | undefined, signal: AbortSignal) {
    const token = (params?.['_meta'] as Params | undefined)?.['progressToken'];
    const notify = (method: string, given: Params = {}): void => this.#send(notice(method, stamped(given, stamp)), id);
    return {
      notify,
      progress: (progress: number, total?: number): void => {
        if (token === undefined) return;
        notify('notifications/progress', { progressToken: token, progress, ...(total !== undefined && { total }) });
      },
      ask: async (method: string, given: Params = {}): Promise<unknown> => {
        const { result, error } = await this.#ask(id, method, stamped(given, stamp), signal);
        if (error === undefined || error === null) return result;
        throw new Error(`the client refused: ${JSON.stringify(error)}`);
      },
    };
  }

  /** Asks the client about a call of its own; resolves to its reply, and rejects when the call is cancelled first. */
  #ask(about: RpcId, method: string, params: Params | undefined, signal: AbortSignal): Promise<RpcMessage> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const id = `ask-${++this.#asks}`;
      const given = (): void => {
        this.#asked.delete(id);
        reject(signal.reason);
      };
      // The question may be lost with the stream that a caller lets go of: nothing answers it then.
      signal.addEventListener('abort', given, { once: true });
      this.#asked.set(id, (reply) => {
        signal.removeEventListener('abort', given);
        resolve(reply);
      });
      this.#send(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params && { params }) }), about);
    });
  }
}

/** The data of an error about a call; what is no object bears no stamp. */
function stampedData(data: unknown, stamp: string | undefined): unknown {
  const isObject = typeof data === 'object' && data !== null && !Array.isArray(data);
  return stamp === undefined || !(data === undefined || isObject) ? data : stamped({ ...(data as object) }, stamp);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
