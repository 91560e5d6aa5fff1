import type { Output } from '../output/output.js';

/** What the primary tells a worker. */
export type ToWorker =
  | { readonly type: 'begin'; readonly sessionKeys: readonly string[]; readonly share: Share; readonly port: number }
  | { readonly type: 'told'; readonly text: string }
  | { readonly type: 'reload' }
  | { readonly type: 'answer'; readonly id: number; readonly value: unknown };

/** What a worker tells the primary. */
export type FromWorker =
  | { readonly type: 'output'; readonly name: keyof Output; readonly args: readonly unknown[] }
  | { readonly type: 'hello'; readonly id: string }
  /** The config was read again; whether it says something else than before. */
  | { readonly type: 'reloaded'; readonly changed: boolean }
  /** `to`: the one worker that it is for. */
  | { readonly type: 'publish'; readonly text: string; readonly mayBeLost?: boolean; readonly to?: string }
  | {
      readonly type: 'note';
      readonly session: string;
      /** Whose share of all notes it counts to. */
      readonly owner: string;
      readonly name: string;
      readonly text?: string;
      readonly lifeMs: number;
    }
  | { readonly type: 'ask'; readonly id: number; readonly what: 'notes' | 'alive'; readonly key: string };

/** Which of how many a worker is. */
export interface Share {
  readonly workers: number;
}
