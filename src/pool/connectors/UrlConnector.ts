import type { Connection } from '../../connection/Connection.js';
import { HttpConnection } from '../../connection/http/HttpConnection.js';
import {
  type HttpDispatcherOptions,
  type HttpTransportOptions,
  resolveHttpTransportOptions,
} from '../../connection/net/httpOptions.js';
import { HttpDispatchers } from '../../connection/net/sockets/HttpDispatchers.js';
import type { UrlConnectionOptions } from '../../connection/net/UrlConnection.js';
import { SseConnection } from '../../connection/sse/SseConnection.js';
import type { CloseOptions } from '../../core/close/CloseScope.js';
import { withStore } from '../../core/era/withStore.js';
import { OptionError } from '../../core/errors.js';
import { within } from '../../core/time/within.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import { listAll } from '../listAll.js';
import { eraFor } from '../server/callers/callerKey.js';
import { POOL_DEFAULTS, type PoolOptions } from '../server/options.js';
import { type ConfiguredTransport, type Connector, type ConnectRequest, commonOptions } from './Connector.js';

/** What the pools of both URL transports take beyond the common options. */
export interface UrlPoolOptions extends PoolOptions, HttpDispatcherOptions, HttpTransportOptions {}

/** The names of its options, beside what every pool takes. */
export const URL_OPTION_NAMES: {
  readonly [K in keyof Required<HttpDispatcherOptions & HttpTransportOptions>]: true;
} = {
  connectTimeoutMs: true,
  maxHeaderBytes: true,
  keepAliveMs: true,
  maxReplySockets: true,
  maxSubscriptionStreams: true,
  maxIncomingBytes: true,
  proxyFromEnv: true,
  tls: true,
  headersTimeoutMs: true,
  bodyTimeoutMs: true,
  maxEventBytes: true,
  maxReplyBytes: true,
};

/** Makes connections to URLs, all over the sockets of one set of dispatchers. */
export class UrlConnector implements Connector {
  readonly transports;
  readonly #dispatchers: HttpDispatchers;
  readonly #wire: HttpTransportOptions;

  /** @throws OptionError */
  constructor(transports: readonly ('http' | 'sse')[], options: UrlPoolOptions) {
    this.transports = transports;
    this.#dispatchers = new HttpDispatchers(options, options.clock);
    this.#wire = {
      ...(options.headersTimeoutMs !== undefined && { headersTimeoutMs: options.headersTimeoutMs }),
      ...(options.bodyTimeoutMs !== undefined && { bodyTimeoutMs: options.bodyTimeoutMs }),
      ...(options.maxEventBytes !== undefined && { maxEventBytes: options.maxEventBytes }),
      ...(options.maxReplyBytes !== undefined && { maxReplyBytes: options.maxReplyBytes }),
    };
    resolveHttpTransportOptions(this.#wire, options.maxMessageBytes ?? POOL_DEFAULTS.maxMessageBytes);
  }

  /** Over Streamable HTTP every call is a POST of its own. */
  attributes(transport: ConfiguredTransport): boolean {
    return transport === 'http';
  }

  async connect(request: ConnectRequest): Promise<Connection> {
    return request.config.transport === 'http' ? this.#http(request) : SseConnection.open(this.#common(request));
  }

  async close(options?: CloseOptions): Promise<void> {
    await this.#dispatchers.close(options);
  }

  async #http(request: ConnectRequest): Promise<Connection> {
    const { pool, options, fingerprint, caller, onRenewed } = request;
    const { eraStore } = pool;
    const lists = new SingleFlight();
    const connection: HttpConnection = await HttpConnection.open({
      ...this.#common(request),
      era: eraFor(caller, options) === 'legacy' ? 'legacy-first' : options.era,
      resendOnSessionLoss: options.sharing === 'shared',
      onNewSession: onRenewed,
      refreshTool: async (name) => {
        const send = (method: string, params: Readonly<Record<string, unknown>>): Promise<unknown> =>
          connection.request(method, params, { raw: true });
        const source = { server: request.config.name, request: send, clock: pool.clock, logger: pool.logger };
        const { items } = await lists.run('tools', () => listAll(source, 'tools'));
        return items.find((tool) => tool.name === name);
      },
      ...(eraStore && {
        eraMemory: {
          get: () => withStore(request, 'read', (store) => store.get(fingerprint)),
          set: (verdict) => withStore(request, 'written', (store) => store.set(fingerprint, verdict)),
        },
      }),
    });
    return connection;
  }

  #common(request: ConnectRequest): UrlConnectionOptions {
    const { config, pool, caller, credentials } = request;
    if (config.transport === 'stdio') throw new OptionError('transport', config.transport, "'http' or 'sse'");
    return {
      ...commonOptions(request),
      ...this.#wire,
      url: config.url,
      ...(config.headers && { headers: config.headers }),
      dispatchers: this.#dispatchers,
      ...(pool.credentials && {
        credentials: (reason, stale, refused = credentials.newest(caller), again = false, challenge = undefined) => {
          if (reason === 'start') return credentials.get(caller, request.closing);
          const asked =
            reason === 'renewal'
              ? credentials.renewAhead(refused, stale, request.closing)
              : credentials.renew(refused, stale, request.closing, again, challenge);
          return within(asked, { clock: pool.clock, signal: request.closing });
        },
      }),
    };
  }
}
