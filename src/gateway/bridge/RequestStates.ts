import { randomBytes } from 'node:crypto';
import { membersOf, memberText, withMembers } from '../../connection/channel/codec/members.js';
import type { ResultSink } from '../../connection/channel/large/ResultSink.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { parseAnswer } from '../rpc/parseAnswer.js';
import { RewritingSink } from '../rpc/RewritingSink.js';
import { type JsonPath, StringRewriter } from '../rpc/StringRewriter.js';
import { TicketSeal } from '../tickets/TicketSeal.js';
import { changed } from './paramsFor.js';

/** Whose call it is, and which: another cannot be given its state. */
export interface StateOf {
  readonly principal: string | undefined;
  readonly server: string;
  readonly method: string;
  readonly params: Params | undefined;
}

/**
 * The `requestState` of modern servers on its way through modern clients (2026-07-28, multi-round-trip requests): sealed with the
 * call that it belongs to, so that a client can neither read it, change it, nor show it to another server or for another principal.
 * With `sessionKeys` every replica opens it.
 */
export class RequestStates {
  readonly #seal: TicketSeal;

  /** @throws OptionError for keys that are none */
  constructor(sessionKeys: readonly (string | Uint8Array)[] | undefined) {
    this.#seal = new TicketSeal(sessionKeys ?? [randomBytes(32)]);
  }

  /** The call as its server is to get it, with the state that it gave. @throws Refusal for a state that is not of this call */
  opened(of: StateOf, call: CallOptions): CallOptions & { readonly params: Params | undefined } {
    const state = of.params?.['requestState'];
    if (state === undefined) return { ...call, params: of.params };
    const own = typeof state === 'string' ? this.#seal.open(state, purposeOf(of)) : undefined;
    if (own === undefined) throw new Refusal(RPC_CODES.invalidParams, 'requestState is not one of this call');
    return { ...call, ...changed(of.params, call, { params: { requestState: own } }) };
  }

  /** A result as its client is to get it. */
  sealed(of: StateOf, result: unknown): unknown {
    if (!(result instanceof Uint8Array)) return result;
    const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
    if (!bytes.includes('"input_required"') || !bytes.includes('"requestState"')) return result;
    const text = bytes.toString('utf8');
    const members = membersOf(text);
    const kind = members === undefined ? undefined : memberText(text, members, 'resultType');
    const stateText = members === undefined ? undefined : memberText(text, members, 'requestState');
    if (kind === undefined || parseAnswer(kind) !== 'input_required' || stateText === undefined) return result;
    const state = parseAnswer(stateText);
    if (typeof state !== 'string') return result;
    const sealed = JSON.stringify(this.#seal.seal(state, purposeOf(of)));
    return Buffer.from(withMembers(text, { requestState: sealed }) ?? text);
  }

  /** The same for one that comes in pieces, and goes on to `sink`. A state that stands before its result says what it is, is sealed. */
  inPieces(of: StateOf, sink: ResultSink): ResultSink {
    let kind = 'input_required';
    const change = (path: JsonPath, value: string): string | undefined => {
      if (path.length !== 1) return undefined;
      if (path[0] === 'requestState')
        return kind === 'input_required' ? this.#seal.seal(value, purposeOf(of)) : undefined;
      kind = value;
      return undefined;
    };
    return new RewritingSink(sink, new StringRewriter(STATE_KEYS, change, Number.POSITIVE_INFINITY));
  }
}

const STATE_KEYS: ReadonlySet<string> = new Set(['resultType', 'requestState']);

const purposeOf = ({ principal, server, method, params }: StateOf): string =>
  JSON.stringify(['requestState', principal ?? null, server, method, params?.['name'] ?? params?.['uri'] ?? null]);
