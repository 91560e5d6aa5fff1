/** Bytes of what clients say, and of large messages, that may be on their way to one place, a store or a process. */
export const MAX_SENDING_BYTES = 32 * 1_024 * 1_024;
/** What a message takes beside its text, about. */
const MESSAGE_BYTES = 512;
/** Another message of fewer bytes is always told: a changed list, an ended session. */
const SMALL_BYTES = 64 * 1_024;

/** What a message counts for while it is on its way. */
export const sendingBytes = (text: string): number => Buffer.byteLength(text) + MESSAGE_BYTES;

/** Whether a message of so many bytes may go behind those that are on their way. */
export function hasRoom(bytes: number, aheadBytes: number, mayBeLost = false): boolean {
  return (!mayBeLost && bytes <= SMALL_BYTES) || aheadBytes + bytes <= MAX_SENDING_BYTES;
}
