import { LRUCache } from 'lru-cache';
import type { Connection } from '../../connection/Connection.js';
import { withStore } from '../../core/era/withStore.js';
import { messageOf, OptionError, ProtocolError, RpcError, StartError } from '../../core/errors.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { SingleServerConfig } from '../../registry/config/ServerConfig.js';
import { eraFor, isSome } from '../server/callers/callerKey.js';
import type { Connector, ConnectRequest } from './Connector.js';

type UrlTransport = 'http' | 'sse';

const NAMES: Readonly<Record<UrlTransport, string>> = { http: 'Streamable HTTP', sse: 'SSE' };

/** Servers whose transport is remembered; the least recently used is found out again. Their table takes all its room when it is made. */
const MAX_VERDICTS = 10_000;

/**
 * Connects to a URL that names no transport: over Streamable HTTP; if what is there answers and is no such server (a
 * 4xx, or no MCP), over SSE. What was found is remembered by config fingerprint and tried first from then on. A refused
 * connection, a refusal of credentials, a 5xx or a silence says nothing about a transport: the start has failed.
 */
export class AutoConnector implements Connector {
  readonly transports = [undefined];
  readonly #connectors: Readonly<Record<UrlTransport, Connector>>;
  #verdicts: LRUCache<string, UrlTransport> | undefined;

  /** The connectors are lent: it does not close them. */
  constructor(connectors: Readonly<Record<UrlTransport, Connector>>) {
    this.#connectors = connectors;
  }

  /** It may: a connection over a transport that does not is refused where it matters. */
  attributes(): boolean {
    return true;
  }

  async connect(request: ConnectRequest): Promise<Connection> {
    const { config, pool, signal } = request;
    const failures: { readonly transport: UrlTransport; readonly error: unknown }[] = [];
    const order: UrlTransport[] = (await this.#remembered(request)) === 'sse' ? ['sse', 'http'] : ['http', 'sse'];
    for (const transport of order) {
      signal.throwIfAborted();
      try {
        const connection = await this.#connect(transport, request);
        this.#verdicts ??= new LRUCache({ max: MAX_VERDICTS });
        this.#verdicts.set(request.fingerprint, transport);
        const verdict = { era: connection.info.era, transport, at: pool.clock.wallNow() };
        // A legacy client's connection says nothing of what else the server speaks.
        if (eraFor(request.caller, request.options) === undefined)
          void withStore({ ...request, signal: request.closing }, 'written', (store) =>
            store.set(request.fingerprint, verdict),
          );
        return connection;
      } catch (error) {
        failures.push({ transport, error });
        if (!saysOtherTransport(error)) throw error;
      }
    }
    this.#verdicts?.delete(request.fingerprint);
    const why = failures.map(({ transport, error }) => `over ${NAMES[transport]}: ${messageOf(error)}`).join('; ');
    throw new StartError(config.name, why, {}, new AggregateError(failures.map(({ error }) => error)));
  }

  /** Nothing is its own. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  #connect(transport: UrlTransport, request: ConnectRequest): Promise<Connection> {
    const config = { ...request.config, transport } as SingleServerConfig;
    const connector = this.#connectors[transport];
    const { capabilities, options } = request;
    if (options.sharing === 'shared' && isSome(capabilities) && !connector.attributes(transport)) {
      const expected = `none: server '${config.name}' speaks ${NAMES[transport]}, which cannot tell whose request comes back; set sharing: 'leased' or 'bound' for it`;
      return Promise.reject(new OptionError('clientCapabilities', capabilities, expected));
    }
    // A fingerprint of its own, under which a store keeps the era found over this transport.
    return connector.connect({ ...request, config, fingerprint: fingerprint(config) });
  }

  async #remembered(request: ConnectRequest): Promise<UrlTransport | undefined> {
    const { fingerprint: key } = request;
    return this.#verdicts?.get(key) ?? (await withStore(request, 'read', (store) => store.get(key)))?.transport;
  }
}

/** Whether a failed start shows that something is there which speaks, but not this transport. */
function saysOtherTransport(error: unknown): boolean {
  const cause = error instanceof StartError ? error.cause : undefined;
  return cause instanceof ProtocolError || cause instanceof RpcError;
}
