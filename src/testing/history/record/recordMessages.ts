import type { Connection } from '../../../connection/Connection.js';
import type {
  CallOptions,
  Params,
  Progress,
  RequestHandler,
  ServerNotice,
} from '../../../connection/protocol/messages.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { messageOf, RpcError } from '../../../core/errors.js';
import { checkPart } from '../../../core/options.js';
import type { RpcMessage } from '../../wire/messages.js';
import type { History } from '../History.js';

const counts = new WeakMap<History, number>();

/**
 * `connection` with every message that it carries written into `history`, from its handshake on: a recording that
 * `fakeServer({ replay })` answers from and `replay` sends again. Give it to a pool by its `wrapConnection` option. What
 * the transport itself adds, such as ids, is written as one client would have it.
 *
 * ```ts
 * import { StdioPool } from 'mcp-poolkit/pool';
 * import { History, recordMessages } from 'mcp-poolkit/testing';
 *
 * const history = new History();
 * const pool = new StdioPool({ wrapConnection: (connection) => recordMessages(connection, history) });
 * ```
 */
export function recordMessages(connection: Connection, history: History): Connection {
  checkPart('connection', connection, ['request', 'notify'], 'a connection');
  checkPart('history', history, ['add'], 'a History');
  const recorder = new MessageRecorder(connection, history);
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'request') return recorder.request;
      if (name === 'notify') return recorder.notify;
      if (name === 'setRequestHandler') return recorder.setRequestHandler;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

class MessageRecorder {
  readonly #connection: Connection;
  readonly #history: History;
  readonly #wire: string;
  #id = 0;
  #asks = 0;

  constructor(connection: Connection, history: History) {
    this.#connection = connection;
    this.#history = history;
    const number = (counts.get(history) ?? 0) + 1;
    counts.set(history, number);
    this.#wire = `${connection.server} ${number}`;
    this.#handshake();
    connection.onNotification(({ method, params }) => this.#tell('server', message({ method, params })));
  }

  readonly request: Connection['request'] = async (method, params, options) => {
    const id = ++this.#id;
    const progress = options.onProgress === undefined ? {} : { progressToken: id };
    const meta = { ...(params?.['_meta'] as Params | undefined), ...progress };
    const sent = Object.keys(meta).length === 0 ? params : { ...params, _meta: meta };
    this.#tell('client', message({ id, method, params: sent }));
    const cancelled = (): void =>
      this.#tell('client', message({ method: 'notifications/cancelled', params: { requestId: id } }));
    options.signal?.addEventListener('abort', cancelled, { once: true });
    try {
      const result = await this.#connection.request(method, params, this.#hooked(id, options));
      this.#tell('server', message({ id, result: result instanceof Uint8Array ? parsed(result) : result }));
      return result;
    } catch (error) {
      if (error instanceof RpcError) this.#tell('server', message({ id, error: errorOf(error) }));
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', cancelled);
    }
  };

  readonly notify: Connection['notify'] = (method, params, options) => {
    this.#tell('client', message({ method, params }));
    return this.#connection.notify(method, params, options);
  };

  readonly setRequestHandler = (handler: RequestHandler | undefined): void =>
    this.#connection.setRequestHandler(handler === undefined ? undefined : this.#answering(handler));

  /** It is over when a connection is there: written down as it must have been. */
  #handshake(): void {
    const { era, protocolVersion, capabilities, serverInfo, instructions } = this.#connection.info;
    const about = {
      capabilities,
      ...(serverInfo && { serverInfo }),
      ...(instructions !== undefined && { instructions }),
    };
    const modern = era === 'modern';
    const params = { protocolVersion, capabilities: {}, clientInfo: { name: 'mcp-poolkit', version: '0' } };
    this.#tell(
      'client',
      message({ id: 0, method: modern ? 'server/discover' : 'initialize', params: modern ? {} : params }),
    );
    const result = modern ? { supportedVersions: [protocolVersion], ...about } : { protocolVersion, ...about };
    this.#tell('server', message({ id: 0, result }));
  }

  #hooked(id: number, options: CallOptions): CallOptions {
    const { onProgress, onNotification, onRequest } = options;
    return {
      ...options,
      ...(onProgress && {
        onProgress: (progress: Progress) => {
          const params = { ...progress, progressToken: id };
          this.#tell('server', message({ method: 'notifications/progress', params }));
          onProgress(progress);
        },
      }),
      ...(onNotification && {
        onNotification: (notice: ServerNotice) => {
          this.#tell('server', message({ method: notice.method, params: notice.params }));
          onNotification(notice);
        },
      }),
      ...(onRequest && { onRequest: this.#answering(onRequest) }),
    };
  }

  #answering(handler: RequestHandler): RequestHandler {
    return async (request, context) => {
      const id = `asked-${++this.#asks}`;
      this.#tell('server', message({ id, method: request.method, params: request.params }));
      try {
        const result = await handler(request, context);
        this.#tell('client', message({ id, result }));
        return result;
      } catch (error) {
        const known = error instanceof RpcError;
        this.#tell(
          'client',
          message({ id, error: known ? errorOf(error) : { code: RPC_CODES.internalError, message: messageOf(error) } }),
        );
        throw error;
      }
    };
  }

  #tell(from: 'client' | 'server', given: RpcMessage): void {
    const { server } = this.#connection;
    this.#history.add({ type: 'message', server, wire: this.#wire, from, message: { ...given } });
  }
}

/** With what it has alone. */
function message(fields: { readonly [K in keyof RpcMessage]: RpcMessage[K] | undefined }): RpcMessage {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return { jsonrpc: '2.0', ...Object.fromEntries(given) };
}

function errorOf({ rpcCode, message: words, data }: RpcError): object {
  return { code: rpcCode, message: words, ...(data !== undefined && { data }) };
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch {
    return null; // no JSON: there is nothing of it to replay
  }
}
