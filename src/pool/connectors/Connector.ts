import type { ClientCapabilities } from '@modelcontextprotocol/client';
import type { Connection, ConnectionOptions } from '../../connection/Connection.js';
import type { ListPace } from '../../connection/ListPace.js';
import type { ClientIdentity } from '../../connection/protocol/handshake.js';
import type { Closeable } from '../../core/close/CloseScope.js';
import type { ServerConfig, SingleServerConfig } from '../../registry/config/ServerConfig.js';
import type { Caller } from '../McpPool.js';
import type { Credentials } from '../server/callers/Credentials.js';
import type { ResolvedPoolOptions, ServerOptions } from '../server/options.js';

/** What a config may name as its transport; undefined for a URL that names none. */
export type ConfiguredTransport = ServerConfig['transport'];

/** One connection to make. */
export interface ConnectRequest<C extends SingleServerConfig = SingleServerConfig> {
  readonly config: C;
  readonly fingerprint: string;
  readonly options: ServerOptions;
  readonly pool: ResolvedPoolOptions;
  /** The first of the callers that will share it. */
  readonly caller: Caller | undefined;
  readonly capabilities: ClientCapabilities;
  readonly credentials: Credentials;
  /** Aborts when the start is given up. */
  readonly signal: AbortSignal;
  /** Milliseconds left of the start. */
  readonly leftMs: () => number;
  /** Aborts when the server ends: for what is asked while the connection lives. */
  readonly closing: AbortSignal;
  /** The connection has a new session, which knows nothing of what the old one was told. */
  readonly onRenewed: () => void;
  readonly onAnswer: (latencyMs: number) => void;
  readonly listPace: ListPace;
  readonly onStderr: (line: string, pid: number) => void;
}

/** How connections are made: all that a `StdioPool`, `HTTPClientPool`, `SSEPool` and `UnifiedPool` differ in. */
export interface Connector<C extends SingleServerConfig = SingleServerConfig> extends Closeable {
  /** The transports it takes; undefined among them for URLs that name none. */
  readonly transports: readonly ConfiguredTransport[];
  /**
   * Whether a transport tells which call a server's request or notification belongs to. For a URL that names none: whether
   * it may.
   */
  attributes(transport: ConfiguredTransport): boolean;
  /** Makes an initialised connection, or rejects with `StartError` (or the signal's reason) having left nothing. */
  connect(request: ConnectRequest<C>): Promise<Connection>;
  /** Ends what the connections run in at once, in this very turn: the pool is closed without any grace. */
  kill?(): void;
  /** Resident memory of what the connection runs in, in bytes, where there is such a thing. */
  memoryBytes?(connection: Connection): number | undefined;
}

/** What the connections of every transport are told alike. */
export interface CommonOptions extends ConnectionOptions, ClientIdentity {
  readonly server: string;
  readonly signal: AbortSignal;
}

export function commonOptions({
  config,
  options,
  pool,
  caller,
  capabilities,
  ...request
}: ConnectRequest): CommonOptions {
  return {
    server: config.name,
    clientInfo: caller?.clientInfo ?? pool.clientInfo,
    capabilities,
    protocolVersion: caller?.protocolVersion,
    clock: pool.clock,
    logger: pool.logger,
    maxMessageBytes: options.maxMessageBytes,
    timeoutMs: options.timeoutMs,
    acquireTimeoutMs: options.acquireTimeoutMs,
    maxTotalTimeoutMs: pool.maxTotalTimeoutMs,
    startTimeoutMs: request.leftMs(),
    signal: request.signal,
    onAnswer: request.onAnswer,
    listPace: request.listPace,
  };
}
