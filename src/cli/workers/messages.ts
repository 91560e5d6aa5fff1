import type { Output } from '../output/output.js';

/** Characters of what clients say, and of large messages, that may be on their way to one process. */
export const MAX_WAITING_CHARS = 32 * 1_024 * 1_024;
/** What a message takes beside its text, about. */
const MESSAGE_CHARS = 512;
/** Another message of no more characters is always passed on: a changed list, an ended session. */
const SMALL_CHARS = 64 * 1_024;

/** What a message counts for while it waits; 0 for one that is always passed on. */
export function waitingChars(text: string, mayBeLost: boolean | undefined): number {
  return mayBeLost === true || text.length > SMALL_CHARS ? text.length + MESSAGE_CHARS : 0;
}

/** What the primary tells a worker. */
export type ToWorker =
  | { readonly type: 'begin'; readonly sessionKeys: readonly string[]; readonly share: Share }
  | { readonly type: 'told'; readonly text: string }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown };

/** What a worker tells the primary. */
export type FromWorker =
  | { readonly type: 'output'; readonly name: keyof Output; readonly args: readonly unknown[] }
  | { readonly type: 'hello'; readonly id: string }
  | { readonly type: 'publish'; readonly text: string; readonly mayBeLost?: boolean }
  | {
      readonly type: 'note';
      readonly session: string;
      readonly name: string;
      readonly text?: string;
      readonly lifeMs: number;
    }
  | { readonly type: 'ask'; readonly id: number; readonly what: 'notes' | 'alive'; readonly key: string };

/** Which of how many a worker is. */
export interface Share {
  readonly workers: number;
}
