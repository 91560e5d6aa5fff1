import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Injection } from '../faults/FaultPlan.js';
import {
  garbage,
  inputRequired,
  lied,
  oversized,
  splitPoint,
  toolIn,
  withCursor,
  withId,
  withOtherSchema,
  withoutTool,
} from './lies.js';
import { answer, notice, type RpcId, type RpcMessage, textResult } from './messages.js';
import type { SpentIds } from './SpentIds.js';
import type { WireCall } from './WireCall.js';
import type { WireMemory } from './WireMemory.js';

/** An id that no client uses. */
const UNKNOWN_ID = 987_654_321;
/** How long an answer out of order is held back, in ms. */
const HOLD_MS = 1_000;
/** Above the default `maxMessageBytes`. */
const OVERSIZE_BYTES = 65 * 2 ** 20;
/** Between two requests of `endlessRequests`, in ms. */
const ASK_EVERY_MS = 5;

interface AnswerFaultsOptions {
  readonly later: (ms: number, work: () => void) => Disposable;
  readonly memory: WireMemory;
  readonly spent: SpentIds;
  /** Whether the call still waits for its answer. */
  readonly isOpen: (call: WireCall) => boolean;
}

/** What a plan does to the answers of a wire. */
export class AnswerFaults {
  readonly #options: AnswerFaultsOptions;
  #turn = 0;
  readonly #asking = new Map<RpcId, WireCall>();

  constructor(options: AnswerFaultsOptions) {
    this.#options = options;
  }

  /** The request has gone to the server. */
  asked(call: WireCall): void {
    if (call.injection?.fault === 'endlessRequests') this.#ask(call);
  }

  /** A reply of the client's to a request that is a fault. */
  tookReply(id: RpcId): boolean {
    const call = this.#asking.get(id);
    if (call === undefined) return false;
    this.#asking.delete(id);
    this.#options.later(ASK_EVERY_MS, () => {
      if (this.#options.isOpen(call)) this.#ask(call);
    });
    return true;
  }

  /** The server has answered; false while the call is still open. */
  answered(call: WireCall, message: RpcMessage, text: string): boolean {
    const { injection } = call;
    if (injection === undefined) this.#write(call, text);
    else {
      try {
        return this.#faulted(call, injection, message, text);
      } catch {
        // It is nested too deep to be changed.
        this.#write(call, text);
      }
    }
    return true;
  }

  /** The caller has given the call up. */
  cancelled(call: WireCall): void {
    if (call.injection?.fault !== 'answerAfterCancel') return;
    const { port, request } = call;
    const late = answer(request.id, textResult('answered after it was cancelled'));
    // In a later turn: the client is about to settle the call.
    this.#options.later(1, () => port.write(port.frame(late)));
  }

  #faulted(call: WireCall, { fault, settings, delayMs }: Injection, message: RpcMessage, text: string): boolean {
    const { port, request } = call;
    const { id } = request;
    switch (fault) {
      case 'dropAnswer':
      case 'hang':
      case 'endlessRequests':
      case 'answerAfterCancel':
        return false;
      case 'resetBeforeHeaders':
        // On SSE the answer would come by another connection than the one that was reset.
        return true;
      case 'duplicate':
        port.write(port.frame(text));
        this.#write(call, text);
        return true;
      case 'outOfOrder':
        this.#hold(call, text, delayMs ?? HOLD_MS);
        return true;
      case 'wrongId':
        port.write(port.frame(withId(message, this.#options.spent.last ?? UNKNOWN_ID)));
        return false;
      case 'unknownId':
        port.write(port.frame(withId(message, UNKNOWN_ID)));
        return false;
      case 'truncate': {
        const bytes = port.frame(text);
        port.write(bytes.subarray(0, Math.ceil(bytes.length / 2)));
        port.die({ exitCode: 1, why: 'the connection was lost in the middle of an answer', streamOnly: true });
        return true;
      }
      case 'coalesce': {
        const log = notice('notifications/message', { level: 'info', data: 'in one write with the answer' });
        port.write(Buffer.concat([port.frame(log), port.frame(text)]));
        this.#done(call);
        return true;
      }
      case 'splitCharacter': {
        const bytes = port.frame(text);
        const at = splitPoint(bytes);
        port.write(bytes.subarray(0, at));
        // A write of its own: in the same turn the system would join the two.
        this.#options.later(1, () => {
          port.write(bytes.subarray(at));
          this.#done(call);
        });
        return true;
      }
      case 'oversize':
        this.#write(call, oversized(id, settings.bytes ?? OVERSIZE_BYTES));
        return true;
      case 'garbage':
        for (const each of garbage(settings.count ?? 3)) port.write(port.frame(each));
        this.#write(call, text);
        return true;
      case 'corrupt':
        port.write(port.frame(JSON.stringify({ jsonrpc: '2.0', id })));
        return false;
      case 'silentUnknown':
        if ((message.error as { readonly code?: unknown } | undefined)?.code === RPC_CODES.methodNotFound) return false;
        break;
      case 'listChangedStorm':
        for (let n = settings.count ?? 1_000; n > 0; n--)
          port.write(port.frame(notice('notifications/tools/list_changed')));
        break;
      case 'progressAfterAnswer': {
        const progressToken = (request.params?.['_meta'] as { readonly progressToken?: unknown } | undefined)
          ?.progressToken;
        const late = notice('notifications/progress', { progressToken: progressToken ?? id, progress: 1 });
        port.write(Buffer.concat([port.frame(text), port.frame(late)]));
        this.#done(call);
        return true;
      }
      default:
        this.#write(call, message.result === undefined ? text : this.#spoiled(fault, settings.of, message, text));
        return true;
    }
    this.#write(call, text);
    return true;
  }

  /** The answer with another result, where the fault is about results. */
  #spoiled(fault: Injection['fault'], of: string | undefined, message: RpcMessage, text: string): string {
    const { result } = message;
    const name = toolIn(result, of);
    const other = (changed: unknown): string => JSON.stringify({ ...message, result: changed });
    switch (fault) {
      case 'lie':
        return other(lied(result));
      case 'vanishTool':
        if (name !== undefined) this.#options.memory.vanished.add(name);
        return other(withoutTool(result, name));
      case 'changeSchema':
        return other(withOtherSchema(result, name));
      case 'endlessCursor':
        return other(withCursor(result, ++this.#turn));
      case 'endlessInputRequired':
        return other(inputRequired(++this.#turn));
      default:
        return text;
    }
  }

  #write(call: WireCall, text: string): void {
    call.port.write(call.port.frame(text));
    this.#done(call);
  }

  #done(call: WireCall): void {
    call.port.done?.();
    this.#options.spent.answered(call.request.id);
    this.#options.memory.answered();
  }

  #hold(call: WireCall, text: string, ms: number): void {
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      timer[Symbol.dispose]();
      this.#options.memory.drop(release);
      call.port.write(call.port.frame(text));
      call.port.done?.();
    };
    this.#options.memory.hold(release);
    const timer = this.#options.later(ms, release);
  }

  #ask(call: WireCall): void {
    const id = `fault-${++this.#turn}`;
    this.#asking.set(id, call);
    call.port.write(call.port.frame(JSON.stringify({ jsonrpc: '2.0', id, method: 'roots/list' })));
  }
}
