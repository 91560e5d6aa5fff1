import { randomUUID } from 'node:crypto';
import type { Params } from '../../connection/protocol/messages.js';
import { META_PROTOCOL_VERSION, META_SERVER_INFO } from '../../connection/protocol/metaKeys.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { LEGACY_VERSIONS, MODERN_VERSIONS, modernMembers } from '../../connection/protocol/versions.js';
import { messageOf, RpcError } from '../../core/errors.js';
import { epochNow, goesOn, stampOf } from '../faults/events.js';
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
import { InputRounds } from './InputRounds.js';
import { listPage } from './lists.js';
import { Questions, type Send } from './Questions.js';
import { runTool } from './runTool.js';

/** What each client says in its own way: where a recording has nothing of it, it is answered as ever. */
const NOT_RECORDED: ReadonlySet<string> = new Set(['initialize', 'server/discover', 'ping', 'logging/setLevel']);

/** One client of a fake server, whatever carries its messages. */
export class FakeSession {
  readonly id: string;
  readonly #core: FakeCore;
  readonly #send: Send;
  readonly #running = new Map<RpcId, AbortController>();
  readonly #questions: Questions;

  constructor(core: FakeCore, id: string, send: Send) {
    this.#core = core;
    this.id = id;
    this.#send = send;
    this.#questions = new Questions(send);
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
    } else if (isAnswer(message)) this.#questions.answered(message);
    else if (message.method === 'notifications/cancelled') this.cancel(message.params?.['requestId'] as RpcId);
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
    this.#questions.clear();
  }

  #request(request: RpcRequest, call: WireCall | undefined): void {
    const { id, method, params } = request;
    const { settings } = this.#core;
    if (this.#replays(request, call)) return;
    const reply = (result: object): void => this.#send(answer(id, this.#shaped(request, result)), id);
    const refuse = (code: number, message: string, data?: unknown): void =>
      this.#send(failure(id, code, message, data), id);
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
            _meta: { [META_SERVER_INFO]: this.#core.info },
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

  #isModern({ method, params }: RpcRequest): boolean {
    const { era } = this.#core.settings;
    if (era !== 'both') return era === 'modern';
    const version = (params?.['_meta'] as Params | undefined)?.[META_PROTOCOL_VERSION];
    return version !== undefined || method === 'server/discover';
  }

  #shaped(request: RpcRequest, result: object): object {
    return this.#isModern(request) ? { ...modernMembers(request.method), ...result } : result;
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
        ask: (asked, given) => this.#questions.ask(id, asked, given, signal),
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
      const rounds = this.#isModern(request) ? new InputRounds(this.#core.settings.name, params ?? {}) : undefined;
      let result: object | undefined;
      try {
        result = await runTool(this.#core, method, params ?? {}, this.#contextOf(request, stamp, signal, rounds));
      } catch (error) {
        if (rounds?.unanswered === undefined) throw error;
      }
      return answer(id, this.#shaped(request, stamped(rounds?.unanswered ?? (result as object), stamp)));
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
        ...(goesOn(params) && { goesOn: true }),
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
          : answer(id, this.#shaped(request, stamped({ ...textResult(messageOf(error)), isError: true }, stamp)));
    }
    if (control.signal.aborted) return;
    this.#running.delete(id);
    tell('end');
    this.#send(text, id);
  }

  #contextOf(
    { id, params }: RpcRequest,
    stamp: string | undefined,
    signal: AbortSignal,
    rounds: InputRounds | undefined,
  ) {
    const token = (params?.['_meta'] as Params | undefined)?.['progressToken'];
    const notify = (method: string, given: Params = {}): void => this.#send(notice(method, stamped(given, stamp)), id);
    return {
      signal,
      notify,
      progress: (progress: number, total?: number): void => {
        if (token === undefined) return;
        notify('notifications/progress', { progressToken: token, progress, ...(total !== undefined && { total }) });
      },
      ask: async (method: string, given: Params = {}): Promise<unknown> => {
        if (rounds !== undefined) return rounds.ask(method, stamped(given, stamp));
        const { result, error } = await this.#questions.ask(id, method, stamped(given, stamp), signal);
        if (error === undefined || error === null) return result;
        throw new Error(`the client refused: ${JSON.stringify(error)}`);
      },
    };
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
