import type { ClientCapabilities } from '@modelcontextprotocol/client';

/** The protocol's two eras: `legacy` speaks `initialize` (2024-10-07 to 2025-11-25), `modern` is 2026-07-28. */
export type Era = 'legacy' | 'modern';

/**
 * How callers share a server. `shared`: calls of one principal are multiplexed. `leased`: a caller borrows a whole
 * connection. `bound`: one connection per downstream session (`Caller.key`).
 */
export type Sharing = 'shared' | 'leased' | 'bound';

export interface StdioTarget {
  readonly transport: 'stdio';
  /** The program: a path or a name on PATH. Never a shell line. */
  readonly command: string;
  readonly args?: readonly string[];
  /** Added to the inherited allow-list; wins over it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory; this process's own by default. */
  readonly cwd?: string;
  /** Names of this process's variables that the child gets too, beyond the allow-list. */
  readonly inheritEnv?: readonly string[];
}

export interface UrlTarget {
  /** Left out, `UnifiedPool` tries Streamable HTTP, then the older SSE wire, and remembers. Its parts need to be told. */
  readonly transport?: 'http' | 'sse';
  /** An absolute http or https URL. */
  readonly url: string;
  /** Sent with every request to that origin; never to another. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What any server may set for itself; what it leaves out comes from its pool's options. */
export interface ServerSettings {
  /** How it is called in this pool; unique there. */
  readonly name: string;
  /** `false` registers it without letting it start. @defaultValue true */
  readonly enabled?: boolean;
  /** @defaultValue 'legacy' on stdio and SSE, 'auto' on HTTP */
  readonly era?: Era | 'auto';
  /** @defaultValue 'shared' */
  readonly sharing?: Sharing;
  /** What this side can do for the server (sampling, elicitation, roots). Part of what keeps connections apart. */
  readonly clientCapabilities?: ClientCapabilities;
  /** Connections kept started ahead of use, in `leased` and `bound` mode. @defaultValue 0 */
  readonly warmSpares?: number;
  /** Connections at the most, over all principals and keys. */
  readonly maxConnections?: number;
  /** Calls in flight on one shared connection. */
  readonly maxConcurrent?: number;
  /** Callers waiting at the most. */
  readonly maxQueue?: number;
  /** Bytes of one message, each way. */
  readonly maxMessageBytes?: number;
  /** Longest wait in the queue, in ms. */
  readonly acquireTimeoutMs?: number;
  /** Longest start, handshake included, in ms. */
  readonly startTimeoutMs?: number;
  /** Idle connections end after this many ms; `Infinity` never. */
  readonly idleTimeoutMs?: number;
  /** Longest call from its send, in ms; by tool name for `tools/call`. */
  readonly timeouts?: { readonly default?: number; readonly byTool?: Readonly<Record<string, number>> };
}

/** One server as a pool takes it. The `mcpServers` file shape maps onto it. */
export type ServerConfig = (StdioTarget | UrlTarget) & ServerSettings;

export type StdioServerConfig = StdioTarget & ServerSettings;
export type UrlServerConfig = UrlTarget & ServerSettings;
