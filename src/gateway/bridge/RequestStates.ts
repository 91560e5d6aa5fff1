import { randomBytes } from 'node:crypto';
import { isDeep } from '../../connection/channel/codec/depth.js';
import { keepText } from '../../connection/channel/codec/exactText.js';
import { costsMore, MAX_TOLD_COST } from '../../connection/channel/codec/parsingCost.js';
import { LONG_BYTES } from '../../connection/channel/large/LongMessage.js';
import type { OnLarge } from '../../connection/channel/large/ResultSink.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { MessageTooLargeError, ProtocolError } from '../../core/errors.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { InPieces } from '../rpc/rewriting/InPieces.js';
import { MemberRewriter } from '../rpc/rewriting/MemberRewriter.js';
import { rewritten } from '../rpc/rewriting/rewritten.js';
import { TicketSeal } from '../tickets/TicketSeal.js';
import { changed, type GivenParams } from './paramsFor.js';

/** What a server wants back is written again in each round. */
export const MAX_STATE_CHARS = 1_024 * 1_024;

/** What a server says it needs is read, some time. @throws MessageTooLargeError, ProtocolError */
export function checkNeeded(server: string, text: string, maxChars = Number.POSITIVE_INFINITY): void {
  if (text.length > maxChars) throw new MessageTooLargeError(server, 'incoming', text.length, maxChars);
  if (costsMore(text, MAX_TOLD_COST) || isDeep(text))
    throw new ProtocolError(server, 'what it needs has too many values to be read, or levels');
}

/** Whose call it is, and which: another cannot be given its state. */
export interface StateOf {
  readonly principal: string | undefined;
  readonly server: string;
  readonly method: string;
  readonly params: Params | undefined;
}

/**
 * The `requestState` of modern servers on its way through modern clients (2026-07-28, multi-round-trip requests): sealed with the
 * call that it belongs to, as JSON, so that a client can neither read it, change it, nor show it to another server or for another principal.
 * With `sessionKeys` every replica opens it.
 */
export class RequestStates {
  readonly #seal: TicketSeal;

  /** @throws OptionError for keys that are none */
  constructor(sessionKeys: readonly (string | Uint8Array)[] | undefined) {
    this.#seal = new TicketSeal(sessionKeys ?? [randomBytes(32)]);
  }

  /**
   * The params as their server is to get them, with the state that it gave; `null` is none.
   * @throws Refusal for a state that is not of this call
   */
  opened(of: StateOf, call: CallOptions): GivenParams | Promise<GivenParams> {
    const state = of.params?.['requestState'];
    if (state === undefined) return { params: of.params, paramsText: call.paramsText };
    if (state === null) return changed(of.params, call, { params: { requestState: undefined } });
    const own = typeof state === 'string' ? this.#seal.open(state, purposeOf(of)) : undefined;
    if (own === undefined) throw new Refusal(RPC_CODES.invalidParams, 'requestState is not one of this call');
    const requestState: unknown = JSON.parse(own);
    keepText(requestState, own);
    return changed(of.params, call, { params: { requestState } });
  }

  /** A result as its client is to get it. */
  sealed(of: StateOf, result: unknown): unknown {
    if (!(result instanceof Uint8Array)) return result;
    const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
    // A small one is looked through in no time; where it has such escapes, they may stand for letters of these words.
    const mayAsk = (bytes.includes('"input_required"') && bytes.includes('"requestState"')) || bytes.includes('\\u');
    if (bytes.length < LONG_BYTES && !mayAsk) return result;
    return rewritten(bytes, this.#sealing(of));
  }

  /** The same for one that comes in pieces. */
  inPieces(of: StateOf, onLarge: OnLarge | undefined): InPieces {
    return new InPieces(onLarge, () => this.#sealing(of));
  }

  /** A state that stands before its result says what it is, is sealed. */
  #sealing(of: StateOf): MemberRewriter {
    let kind: unknown = 'input_required';
    return new MemberRewriter({
      resultType: (value) => {
        kind = value.length > MAX_STATE_CHARS ? undefined : stringOf(value);
        return value;
      },
      requestState: (value) => {
        if (kind !== 'input_required') return value;
        checkNeeded(of.server, value, MAX_STATE_CHARS);
        return JSON.stringify(this.#seal.seal(value, purposeOf(of)));
      },
    });
  }
}

const stringOf = (text: string): string | undefined =>
  text.startsWith('"') ? (JSON.parse(text) as string) : undefined;

const purposeOf = ({ principal, server, method, params }: StateOf): string =>
  JSON.stringify([
    'requestState as JSON',
    principal ?? null,
    server,
    method,
    params?.['name'] ?? params?.['uri'] ?? null,
  ]);
