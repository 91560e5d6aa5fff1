import type { ServerResponse } from 'node:http';
import { META_SUBSCRIPTION_ID, type ServerNotice } from '../../connection/protocol/messages.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import { sendError as refuse } from '../http/respond.js';
import { EventStream, type EventStreamBounds } from '../http/stream/EventStream.js';
import { idTextOf, type Params, type RpcId } from '../rpc/envelope.js';
import { type Failure, failureOf, INTERNAL_ERROR, INVALID_PARAMS } from '../rpc/failure.js';
import { MAX_URI_LENGTH } from '../rpc/limits.js';
import type { ModernRequest } from './checkRequest.js';
import type { ListenFilter } from './Listening.js';
import type { ModernClients } from './ModernClients.js';

export interface ListensOptions {
  readonly clients: ModernClients;
  readonly bounds: EventStreamBounds;
  readonly maxOpen: number;
  readonly logger: Logger;
  readonly onDrop: () => void;
}

/** URIs of one subscription. */
const MAX_URIS = 1_000;

const KINDS: readonly (keyof ListenFilter)[] = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'];

/** Open `subscriptions/listen` requests (2026-07-28, subscriptions): one stream each, acknowledged first. */
export class Listens {
  readonly #options: ListensOptions;
  readonly #streams = new Set<EventStream>();

  constructor(options: ListensOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Holds the response open until the client closes it or the server ends the subscription. Never rejects. */
  async open(endpoint: Endpoint, request: ModernRequest, response: ServerResponse): Promise<void> {
    const { id, params } = request;
    const idText = idTextOf(request);
    const { bounds, maxOpen, logger, onDrop } = this.#options;
    const filter = filterOf(params['notifications']);
    if (typeof filter === 'string') return refuse(response, idText, 200, { code: INVALID_PARAMS, message: filter });
    if (this.#streams.size >= maxOpen) return refuse(response, idText, 200, full(maxOpen));
    const gone = new AbortController();
    let stream: EventStream | undefined;
    let early: ServerNotice[] = [];
    const tell = (notice: ServerNotice): void => {
      if (stream === undefined) early.push(notice);
      else if (!stream.offer(labelled(notice, id))) onDrop();
    };
    response.once('close', () => gone.abort(new Error('the client closed its subscription')));
    try {
      const listening = await endpoint.listen(this.#options.clients.anyone, filter, {
        signal: gone.signal,
        onNotification: tell,
      });
      if (response.destroyed) return await listening.close();
      stream = new EventStream(response, bounds);
      this.#streams.add(stream);
      const method = 'notifications/subscriptions/acknowledged';
      stream.send(labelled({ method, params: { notifications: listening.filter } }, id));
      for (const notice of early) tell(notice);
      early = [];
      await listening.ended;
      const result = { resultType: 'complete', _meta: { [META_SUBSCRIPTION_ID]: id } };
      if (!response.destroyed) stream.send(JSON.stringify({ jsonrpc: '2.0', id, result }));
      stream.end();
    } catch (error) {
      if (gone.signal.aborted) return logger.debug({ error: messageOf(error) }, 'a subscription ended');
      const failure = failureOf(error, logger);
      if (stream === undefined) refuse(response, idText, 200, failure);
      else stream.end();
    } finally {
      if (stream !== undefined) this.#streams.delete(stream);
    }
  }

  heartbeat(): void {
    for (const stream of this.#streams) stream.heartbeat();
  }

  /** Ends them all: their clients listen anew elsewhere. */
  end(): void {
    for (const stream of this.#streams) stream.end();
  }
}

const full = (max: number): Failure => ({ code: INTERNAL_ERROR, message: `${max} subscriptions are open` });

function filterOf(given: unknown): ListenFilter | string {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return 'notifications is an object';
  const wanted = given as Params;
  const uris = wanted['resourceSubscriptions'];
  if (uris !== undefined && (!Array.isArray(uris) || uris.length > MAX_URIS || !uris.every(isUri))) {
    return `resourceSubscriptions is an array of up to ${MAX_URIS} URIs of up to ${MAX_URI_LENGTH} characters`;
  }
  const kinds = KINDS.filter((kind) => wanted[kind] === true).map((kind) => [kind, true]);
  return { ...Object.fromEntries(kinds), ...(uris === undefined ? {} : { resourceSubscriptions: uris as string[] }) };
}

/** The message says which subscription it belongs to: by the id of the request, as the client gave it. */
function labelled({ method, params }: ServerNotice, id: RpcId): string {
  const meta = { ...(params?.['_meta'] as Params | undefined), [META_SUBSCRIPTION_ID]: id };
  return JSON.stringify({ jsonrpc: '2.0', method, params: { ...params, _meta: meta } });
}

const isUri = (uri: unknown): boolean => typeof uri === 'string' && uri.length <= MAX_URI_LENGTH;
