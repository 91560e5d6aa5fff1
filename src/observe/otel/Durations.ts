import type { Attributes, Histogram, Meter } from '@opentelemetry/api';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { McpPool, PoolEvents } from '../../pool/McpPool.js';
import type { CallTrace, TracedCall } from '../../pool/server/calls/trace.js';
import { BoundedLabel } from '../metrics/Labels.js';
import type { RequestTrace } from '../requests/requestTrace.js';
import { downstream, failure, operation, upstream } from './attributes.js';

/** As the conventions name them. */
const BOUNDARIES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300];

/** Codes of errors that are the protocol's, and so many others, have a label of their own. */
const KNOWN_CODES: ReadonlySet<string> = new Set(Object.values(RPC_CODES).map(String));
const MAX_CODES = 32;

interface Operation {
  readonly method: string;
  readonly target: string | undefined;
  readonly outcome?: string | undefined;
}

/** The histograms of the semantic conventions. */
export class Durations {
  readonly #client: Histogram;
  readonly #server: Histogram;
  readonly #session: Histogram;
  readonly #codes = new BoundedLabel(undefined, MAX_CODES);
  readonly #nameOf: (target: string, outcome: string | undefined) => string;

  /** `nameOf` bounds the names of tools and prompts. */
  constructor(meter: Meter, nameOf: (target: string, outcome: string | undefined) => string) {
    const options = (description: string) => ({
      unit: 's',
      description,
      advice: { explicitBucketBoundaries: BOUNDARIES },
    });
    this.#nameOf = nameOf;
    this.#client = meter.createHistogram(
      'mcp.client.operation.duration',
      options('From the send of a call to a server to its answer.'),
    );
    this.#server = meter.createHistogram(
      'mcp.server.operation.duration',
      options('From a client’s request to its answer.'),
    );
    this.#session = meter.createHistogram('mcp.client.session.duration', options('How long a connection lived.'));
  }

  /** Calls that were never sent have no duration here. */
  onCall({ phase, call }: CallTrace): void {
    if (phase !== 'answer' || call.attempt === 0) return;
    const { pool, server, connection } = call;
    this.#client.record(call.callMs / 1_000, {
      ...operation(this.#bounded(call), false),
      ...upstream(pool.config(server), connection?.info.protocolVersion),
      ...this.#failure(call),
    });
  }

  onRequest({ phase, request }: RequestTrace): void {
    if (phase !== 'end') return;
    const attributes = {
      ...operation(this.#bounded(request), false),
      ...downstream(request),
      ...this.#failure(request),
    };
    this.#server.record(request.durationMs / 1_000, attributes);
  }

  onExited(pool: McpPool, { server, livedMs, expected }: PoolEvents['exited']): void {
    const attributes = {
      ...upstream(pool.config(server), undefined),
      ...(!expected && { 'error.type': 'disconnected' }),
    };
    this.#session.record(livedMs / 1_000, attributes);
  }

  /** A server may answer with ever new codes, each of which would stay. */
  #failure(ended: Pick<TracedCall, 'outcome' | 'error'>): Attributes {
    const attributes = failure(ended);
    const code = attributes['rpc.response.status_code'];
    if (typeof code !== 'string' || KNOWN_CODES.has(code)) return attributes;
    const told = this.#codes.of(code);
    return { 'error.type': told, 'rpc.response.status_code': told };
  }

  #bounded({ method, target, outcome }: Operation): Operation {
    return { method, target: target === undefined ? undefined : this.#nameOf(target, outcome) };
  }
}
