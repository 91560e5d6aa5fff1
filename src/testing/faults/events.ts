import type { Params } from '../../connection/protocol/messages.js';

/** The `_meta` key under which a call carries the id that its caller gave it; every message about the call repeats it. */
export const META_CALL = 'mcp-poolkit/call';

/** What a server saw and did: one execution begins, ends with its answer, or is cancelled. */
export interface EffectEvent {
  readonly type: 'effect';
  /** Epoch ms with a fraction, so that events of several processes compare. */
  readonly atMs: number;
  readonly server: string;
  readonly pid: number;
  /** The MCP session, or the number of the connection where there is none. */
  readonly session?: string;
  /** The id in the call's `_meta`, when its caller stamped it: see `META_CALL`. */
  readonly call?: string;
  /** Of this one execution: the same in its `begin`, `end` and `cancelled`. */
  readonly effect: string;
  readonly method: string;
  readonly tool?: string;
  /** The call had asked its client, and came again with the replies: no effect of its own. */
  readonly goesOn?: true;
  /** `begin`: the server acts, after every refusal. */
  readonly phase: 'begin' | 'end' | 'cancelled';
}

/** A fault that was injected. */
export interface FaultEvent {
  readonly type: 'fault';
  readonly atMs: number;
  readonly server: string;
  readonly pid: number;
  readonly fault: string;
  /** Which of the plan's rules; absent when a ratio did it. */
  readonly rule?: number;
  readonly call?: string;
  readonly method?: string;
  readonly tool?: string;
}

/** A server that replays a recording was not called as it says. */
export interface DivergenceEvent {
  readonly type: 'divergence';
  readonly atMs: number;
  readonly server: string;
  readonly pid: number;
  /** Where, and what was recorded, and what came. */
  readonly what: string;
  readonly call?: string;
}

export type KitEvent = EffectEvent | FaultEvent | DivergenceEvent;

/** Epoch ms with a fraction: monotonic within a process, comparable between those of one machine. */
export function epochNow(): number {
  return performance.timeOrigin + performance.now();
}

/** Whether a call comes again with what its server asked its client for (2026-07-28, multi round-trip requests). */
export const goesOn = (params: Params | undefined): boolean =>
  params?.['requestState'] !== undefined || params?.['inputResponses'] !== undefined;

/** The call that params, a result or a notification were stamped for. */
export function stampOf(value: unknown): string | undefined {
  const meta = (value as { readonly _meta?: Readonly<Record<string, unknown>> } | null | undefined)?._meta;
  const stamp = typeof meta === 'object' && meta !== null ? meta[META_CALL] : undefined;
  return typeof stamp === 'string' ? stamp : undefined;
}
