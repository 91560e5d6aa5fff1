import type { Injection } from '../faults/FaultPlan.js';
import type { RpcRequest } from './messages.js';

/** How a wire ends. */
export interface WireEnd {
  readonly exitCode?: number;
  readonly signal?: string;
  readonly why: string;
  /** Where calls have streams of their own, only this one's ends. */
  readonly streamOnly?: boolean;
}

/** Where the bytes of one call go: the wire itself, or the call's own stream. */
export interface ClientPort {
  /** One message as this wire frames it. */
  frame(text: string): Buffer;
  /** One write. */
  write(bytes: Buffer): void;
  /** The wire ends, with everything on it. */
  die(end: WireEnd): void;
  /** Nothing more comes for the call; without it the port stays open. */
  done?(): void;
}

/** A call that is under way. */
export interface WireCall {
  readonly request: RpcRequest;
  readonly injection: Injection | undefined;
  readonly port: ClientPort;
}
