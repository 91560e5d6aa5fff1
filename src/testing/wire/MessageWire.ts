import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import type { FaultEvent } from '../faults/events.js';
import type { FaultPlan, Injection } from '../faults/FaultPlan.js';
import { faultEvent } from '../faults/faultEvent.js';
import type { FaultWire } from '../faults/table/spec.js';
import { AnswerFaults } from './AnswerFaults.js';
import { Delays } from './Delays.js';
import { failure, isAnswer, isRequest, type RpcId, type RpcMessage, type RpcRequest } from './messages.js';
import { SpentIds } from './SpentIds.js';
import type { ClientPort, WireCall } from './WireCall.js';
import { WireMemory } from './WireMemory.js';

export interface MessageWireOptions {
  readonly server: string;
  readonly plan: FaultPlan;
  readonly clock: Clock;
  readonly caller?: () => string | undefined;
  /** The transport, when only its own faults can be injected. */
  readonly wire?: FaultWire;
  /** Hands a message of the client's to the server. */
  readonly toServer: (message: RpcMessage, call: WireCall | undefined) => void;
  /** A fault of this kind of wire; true: it goes on from there, and the message is not handed on. */
  readonly special?: (call: WireCall, proceed: () => void) => boolean;
  readonly onFault?: (event: FaultEvent) => void;
  /** Told of each message as its sender sent it, before anything goes wrong with it. */
  readonly onMessage?: (from: 'client' | 'server', message: RpcMessage) => void;
  /** What other wires of the same server know too. @defaultValue its own */
  readonly memory?: WireMemory;
  /** For POSTs without a session: the ids of them all. @defaultValue its own */
  readonly spent?: SpentIds;
}

/** A server that is to die does so when it would answer, or after so many ms. */
const TAKE_MS = 250;

/**
 * A wire between a client and a server on which messages go wrong as a plan says: one implementation for wrapped
 * connections, fake servers and proxies, whatever carries the bytes. What is not faulted passes as it came.
 */
export class MessageWire {
  readonly #options: MessageWireOptions;
  readonly #calls = new Map<RpcId, WireCall>();
  readonly #answers: AnswerFaults;
  readonly #delays: Delays;
  /** When a call that is held back goes to the server. */
  readonly #delayed = new WeakMap<WireCall, Disposable>();
  readonly #memory: WireMemory;
  readonly #spent: SpentIds;
  readonly #joined: Disposable;
  /** Calls whose server dies once it has taken them. */
  readonly #dying = new Map<WireCall, () => void>();
  #stalled = false;
  #closed = false;

  constructor(options: MessageWireOptions) {
    this.#options = options;
    this.#delays = new Delays(options.clock);
    this.#memory = options.memory ?? new WireMemory();
    this.#spent = options.spent ?? new SpentIds();
    this.#joined = this.#spent.join((id) => this.#calls.has(id));
    this.#answers = new AnswerFaults({
      later: (ms, work) => this.#delays.later(ms, work),
      memory: this.#memory,
      spent: this.#spent,
      isOpen: (call) => this.#calls.get(call.request.id) === call,
    });
  }

  /** A message of the client's. `port` is where its answer goes, if it is a request. */
  fromClient(message: RpcMessage, port: ClientPort): void {
    if (this.#stalled || this.#closed) return;
    this.#options.onMessage?.('client', message);
    if (isRequest(message)) this.#request(message, port);
    else if (message.method === 'notifications/cancelled') this.#cancelled(message);
    else if (!isAnswer(message) || !this.#answers.tookReply(message.id)) this.#options.toServer(message, undefined);
  }

  /** The call of that id, while it is not answered. */
  call(id: RpcId): WireCall | undefined {
    return this.#calls.get(id);
  }

  /** A message of the server's: `text` is how it stood there. True when it was an answer and has been dealt with. */
  fromServer(message: RpcMessage, text: string, fallback: ClientPort): void {
    if (this.#stalled || this.#closed) return;
    this.#options.onMessage?.('server', message);
    const call = isAnswer(message) ? this.#calls.get(message.id) : undefined;
    if (call === undefined) {
      fallback.write(fallback.frame(text));
      return;
    }
    const die = this.#dying.get(call);
    if (die !== undefined) die();
    else if (this.#answers.answered(call, message, text)) this.#forget(call);
  }

  /** The server's answer to that call has gone to the client as it came. */
  passed(id: RpcId): void {
    if (!this.#calls.delete(id)) return;
    this.#spent.answered(id);
    this.#memory.answered();
  }

  /** The caller has given the call up in a way of its own, such as the end of its stream. */
  abandoned(id: RpcId): void {
    this.#calls.delete(id);
  }

  /** The server dies with this call in flight: when it would answer, which shows that it has taken it, or soon. */
  dieOnceTaken(call: WireCall, die: () => void): void {
    const once = (): void => {
      if (this.#dying.delete(call)) die();
    };
    this.#dying.set(call, once);
    this.#delays.later(TAKE_MS, once);
  }

  /** Nothing goes either way any more. */
  get stalled(): boolean {
    return this.#stalled;
  }

  /** Requests that no fault befell, and the server has not answered. */
  get unanswered(): number {
    return [...this.#calls.values()].filter(({ injection }) => !this.#stalled && injection === undefined).length;
  }

  /** Resolves once no fault holds back a message, either way. */
  settled(): Promise<void> {
    return this.#delays.settled();
  }

  /** Cancels what waits; nothing more is written. */
  close(): void {
    this.#closed = true;
    this.#joined[Symbol.dispose]();
    this.#delays.close();
    this.#calls.clear();
    this.#dying.clear();
  }

  #request(request: RpcRequest, port: ClientPort): void {
    const { plan, server, toServer, special } = this.#options;
    const { id, method, params } = request;
    const name = params?.['name'];
    if (method === 'tools/call' && typeof name === 'string' && this.#memory.vanished.has(name)) {
      port.write(port.frame(failure(id, RPC_CODES.invalidParams, `unknown tool ${name}`)));
      port.done?.();
      return;
    }
    const injection = plan.next({ server, method, params, caller: this.#options.caller?.(), wire: this.#options.wire });
    const call: WireCall = { request, injection, port };
    this.#calls.set(id, call);
    const proceed = (): void => {
      if (!this.#closed && this.#calls.get(id) === call) toServer(request, call);
    };
    if (injection === undefined) {
      proceed();
      return;
    }
    this.#options.onFault?.(faultEvent(injection));
    if (special?.(call, proceed) === true) return;
    this.#before(call, injection, proceed);
  }

  #before(call: WireCall, { fault, delayMs, settings }: Injection, proceed: () => void): void {
    const { port, request } = call;
    switch (fault) {
      case 'delay':
        this.#delayed.set(call, this.#delays.later(delayMs ?? this.#options.plan.delayMs, proceed));
        break;
      case 'drop':
      case 'silentPing':
        break;
      case 'stall':
        proceed();
        this.#stalled = true;
        break;
      case 'error': {
        const { code = RPC_CODES.internalError, message = 'the fault plan failed it', data } = settings;
        this.#calls.delete(request.id);
        port.write(port.frame(failure(request.id, code, message, data)));
        port.done?.();
        break;
      }
      case 'crash':
        this.dieOnceTaken(call, () =>
          port.die({ signal: settings.signal ?? 'SIGKILL', why: 'it was killed with the call in flight' }),
        );
        proceed();
        break;
      case 'exit': {
        const { exitCode = 1 } = settings;
        this.dieOnceTaken(call, () =>
          port.die({ exitCode, why: `it exited with code ${exitCode} with the call in flight` }),
        );
        proceed();
        break;
      }
      default:
        proceed();
        this.#answers.asked(call);
    }
  }

  #cancelled(message: RpcMessage): void {
    const id = message.params?.['requestId'] as RpcId;
    const call = this.#calls.get(id);
    const fault = call?.injection?.fault;
    // The server never saw the call, or is not to hear that it is over.
    if (fault === 'drop' || fault === 'silentPing') this.#calls.delete(id);
    else if (fault !== 'ignoreCancel') {
      this.#options.toServer(message, undefined);
      if (call !== undefined) {
        this.#answers.cancelled(call);
        this.#forget(call);
      }
    }
  }

  #forget(call: WireCall): void {
    this.#delayed.get(call)?.[Symbol.dispose]();
    if (this.#calls.get(call.request.id) === call) this.#calls.delete(call.request.id);
  }
}
