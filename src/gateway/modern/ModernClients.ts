import { randomUUID } from 'node:crypto';
import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/client';
import type { CallClient } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Caller } from '../../pool/McpPool.js';
import type { Downstream } from '../endpoint/Endpoint.js';
import { Refusal } from '../rpc/failure.js';
import { addressOrigin } from '../session/origin.js';

/** Sets of capabilities whose clients are remembered. */
const MAX_PROFILES = 64;

/** What a request of the modern era stands for, which belongs to no session. */
export class ModernClient implements Downstream {
  readonly key = randomUUID();
  readonly era = 'modern';
  readonly caller: Caller | undefined;
  logLevel: string | undefined;
  readonly protocolVersion = undefined;
  readonly held = undefined;
  readonly capabilities: ClientCapabilities | undefined;
  readonly clientInfo: Implementation | undefined;
  readonly origin: string | undefined;
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal, caller: Caller | undefined, client?: CallClient, origin?: string) {
    this.caller = caller;
    this.origin = origin;
    this.signal = signal;
    this.capabilities = client?.capabilities;
    this.clientInfo = client?.clientInfo;
  }

  notify(): void {
    // What belongs to no request goes to the subscriptions that ask for it.
  }

  tell(): void {
    // As above.
  }

  subscribe(): Promise<void> {
    return Promise.reject(new Refusal(RPC_CODES.methodNotFound, 'method not found: resources/subscribe'));
  }

  unsubscribe(): Promise<void> {
    return Promise.reject(new Refusal(RPC_CODES.methodNotFound, 'method not found: resources/unsubscribe'));
  }
}

/**
 * The clients of the modern era. They share connections, since each of their requests says all there is to know; on a legacy
 * server those share one who can be asked the same.
 */
export class ModernClients {
  /** For every client: on servers that speak the modern era. */
  readonly anyone: ModernClient;
  readonly #signal: AbortSignal;
  readonly #caller: Caller | undefined;
  readonly #byProfile = new Map<string, ModernClient>();

  constructor(signal: AbortSignal, caller: Caller | undefined) {
    this.#signal = signal;
    this.#caller = caller;
    this.anyone = new ModernClient(signal, caller);
  }

  /** One that stands for all that have those capabilities; undefined: none, wherever they connect from. */
  like(capabilities: ClientCapabilities | undefined, address: string | undefined): ModernClient {
    const origin = capabilities === undefined ? undefined : addressOrigin(address);
    const profile = JSON.stringify([origin, capabilities]);
    const client = { capabilities: capabilities ?? {} };
    const known = this.#byProfile.get(profile) ?? new ModernClient(this.#signal, this.#caller, client, origin);
    this.#byProfile.delete(profile);
    this.#byProfile.set(profile, known);
    const [oldest] = this.#byProfile.keys();
    if (this.#byProfile.size > MAX_PROFILES && oldest !== undefined) this.#byProfile.delete(oldest);
    return known;
  }

  /** One of its own, for a single call on a `bound` server. */
  alone(client: CallClient, address: string | undefined): ModernClient {
    return new ModernClient(this.#signal, this.#caller, client, addressOrigin(address));
  }
}
