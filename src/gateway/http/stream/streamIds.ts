/** The stream for what belongs to no call. */
export const OWN_STREAM = 'g';

/** A call's id beyond this many bytes does not stand in the id of its stream. */
const MAX_CALL_ID_BYTES = 32;
const STREAM_ID = /^(g|c[a-z0-9]{1,12})\.([0-9a-f]{8})(?:\.((?:[0-9a-f]{2}){1,32}))?$/;

/** What the id of a stream says. */
export interface StreamPlace {
  /** It is the one of the session itself. */
  readonly own: boolean;
  /** The process that made it. */
  readonly replica: string;
  /** The JSON-RPC id of its call, as JSON text, where that is short. */
  readonly callId: string | undefined;
}

/** The id of a session's own stream. */
export const ownStreamId = (replica: string): string => `${OWN_STREAM}.${replica}`;

/** The id of the stream of a call: it says which process has it, and what it answers. */
export function callStreamId(count: number, replica: string, callId: string | undefined): string {
  const bytes = callId === undefined ? undefined : Buffer.from(callId);
  const call = bytes === undefined || bytes.length > MAX_CALL_ID_BYTES ? '' : `.${bytes.toString('hex')}`;
  return `c${count.toString(36)}.${replica}${call}`;
}

/** Undefined for what is no id of a stream. */
export function streamPlaceOf(id: string): StreamPlace | undefined {
  const [, kind, replica = '', hex] = STREAM_ID.exec(id) ?? [];
  const callId = hex === undefined ? undefined : Buffer.from(hex, 'hex').toString();
  if (kind === undefined || (callId !== undefined && !isCallId(callId))) return undefined;
  return { own: kind === OWN_STREAM, replica, callId };
}

/** A client may say any: what is answered under it is JSON. */
function isCallId(text: string): boolean {
  try {
    const id: unknown = JSON.parse(text);
    return (typeof id === 'string' || typeof id === 'number') && !/[\r\n]/.test(text);
  } catch {
    return false;
  }
}
