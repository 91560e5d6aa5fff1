import { LRUCache } from 'lru-cache';
import { firstOf } from '../../concurrent/firstOf.js';
import type { Connection } from '../../connection/Connection.js';
import { withStore } from '../../core/era/withStore.js';
import { OptionError } from '../../core/errors.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { SingleServerConfig } from '../../registry/config/ServerConfig.js';
import { eraFor, isSome } from '../server/callers/callerKey.js';
import type { Connector, ConnectRequest } from './Connector.js';
import { failureOfAll, saysOtherTransport, TRANSPORT_NAMES, type UrlTransport } from './otherTransport.js';

/** Servers whose transport is remembered; the least recently used is found out again. Their table takes all its room when it is made. */
const MAX_VERDICTS = 10_000;
/** Longest that one transport is tried by itself, in ms; half of the start's time where that is less. */
const MAX_PATIENCE_MS = 5_000;

/**
 * Connects to a URL that names no transport: over Streamable HTTP; if what is there answers and is no such server (a
 * 4xx, a 501, or no MCP), over SSE, and beside it where it is silent. What was found is remembered by config fingerprint and tried first from then
 * on. A refused connection, a refusal of credentials or another 5xx says nothing about a transport: the start has failed.
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
    const { config, signal, pool } = request;
    const order: UrlTransport[] = (await this.#remembered(request)) === 'sse' ? ['sse', 'http'] : ['http', 'sse'];
    signal.throwIfAborted();
    const { kind: transport, result: connection } = await firstOf(order, {
      clock: pool.clock,
      patienceMs: Math.min(request.leftMs() / 2, MAX_PATIENCE_MS),
      signal,
      attempt: (tried, own) => this.#connect(tried, { ...request, signal: own }),
      isFinal: (error) => !saysOtherTransport(error),
      discard: (late) => {
        const closed = async (): Promise<void> => late.close({ graceMs: 0 });
        closed().catch((error: unknown) => pool.logger.debug({ error }, 'not closed'));
      },
      failure: (failures) => {
        if (failures.size > 1) this.#verdicts?.delete(request.fingerprint);
        return failureOfAll(config.name, failures);
      },
    });
    this.#verdicts ??= new LRUCache({ max: MAX_VERDICTS });
    this.#verdicts.set(request.fingerprint, transport);
    const verdict = { era: connection.info.era, transport, at: pool.clock.wallNow() };
    // A legacy client's connection says nothing of what else the server speaks.
    if (eraFor(request.caller, request.options) === undefined)
      void withStore({ ...request, signal: request.closing }, 'written', (store) =>
        store.set(request.fingerprint, verdict),
      );
    return connection;
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
      const expected = `none: server '${config.name}' speaks ${TRANSPORT_NAMES[transport]}, which cannot tell whose request comes back; set sharing: 'leased' or 'bound' for it`;
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
