import { textOf } from '../../connection/channel/codec/exactText.js';
import { membersOf, memberText, rewritten, withTheseMembers } from '../../connection/channel/codec/members.js';
import { META_SUBSCRIPTION_ID, type ServerNotice } from '../../connection/protocol/messages.js';
import { COPIED_BYTES, type EventFrame, Frame, LabelledFrame } from '../http/stream/Frame.js';

/** Labels a message, which it was written without. */
interface Labeller {
  readonly method: string;
  label(idText: string): EventFrame;
}

/** No JSON text has one. */
const MARK = '\u0000';

/**
 * What a subscription is told says which one it belongs to: by the id of its request, as the client gave it. A message is looked through and
 * written once for all subscriptions of one gateway, which share what is large of it. Params are as they came.
 */
export class Labels {
  /** By the params of notices. */
  readonly #labellers = new WeakMap<object, Labeller>();

  put({ method, params = {} }: ServerNotice, idText: string): EventFrame {
    let labeller = this.#labellers.get(params);
    if (labeller?.method !== method) {
      labeller = labellerOf(method, markedText(method, params).split(MARK));
      this.#labellers.set(params, labeller);
    }
    return labeller.label(idText);
  }
}

function labellerOf(method: string, [before = '', behind = '']: readonly string[]): Labeller {
  const shared = new Frame(before + behind, COPIED_BYTES);
  if (shared.latin1 === undefined) return sharing(method, shared, Buffer.byteLength(before));
  return { method, label: (idText) => new Frame(before + idText + behind) };
}

/** Keeps none of the texts. */
const sharing = (method: string, shared: Frame, at: number): Labeller => ({
  method,
  label: (idText) => new LabelledFrame(shared, at, idText),
});

/** The message, with a mark where its label is to stand. */
function markedText(method: string, params: object): string {
  const kept = textOf(params);
  const members = kept === undefined ? undefined : membersOf(kept);
  const text = kept === undefined || members === undefined ? JSON.stringify(params) : kept;
  const all = members ?? membersOf(text) ?? [];
  const given = memberText(text, all, '_meta');
  const meta = rewritten(given?.startsWith('{') ? given : '{}', { [META_SUBSCRIPTION_ID]: MARK });
  return `{"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":${withTheseMembers(text, all, { _meta: meta })}}`;
}
