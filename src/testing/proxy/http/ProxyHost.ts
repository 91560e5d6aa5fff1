import type { IncomingMessage } from 'node:http';
import type { IncomingBytes } from '../../../connection/net/body/IncomingBytes.js';
import type { KitEvent } from '../../faults/events.js';
import type { FaultPlan } from '../../faults/FaultPlan.js';
import type { HttpHand } from '../../wire/http/httpFaults.js';
import type { SpentIds } from '../../wire/SpentIds.js';
import type { WireEnd } from '../../wire/WireCall.js';
import type { WireMemory } from '../../wire/WireMemory.js';
import type { Upstream } from './Upstream.js';

/** What the sessions of a fault proxy have of it. */
export interface ProxyHost {
  readonly name: string;
  readonly plan: FaultPlan;
  readonly upstream: Upstream;
  readonly hand: HttpHand;
  readonly memory: WireMemory;
  /** Of POSTs without a session. */
  readonly spent: SpentIds;
  /** Bodies and events that have not ended, of all of them together. */
  readonly held: IncomingBytes;
  readonly tell: (event: KitEvent) => void;
  /** A message of so many bytes has too many values to be parsed, and passes as it came. */
  readonly unread: (from: 'client' | 'server', bytes: number) => void;
  /** The server is dead: every connection ends. */
  readonly die: (end: WireEnd) => void;
  /** Keeps an answer for the client that asks for the rest of a stream by its last event's id. */
  readonly keep: (eventId: string, text: string) => void;
}

/** A message of a client's as it came. */
export interface Posted {
  readonly req: IncomingMessage;
  readonly body: Buffer;
}
