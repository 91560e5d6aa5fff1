import type { ClientCapabilities } from '@modelcontextprotocol/client';
import type { BalancePolicy } from '../../concurrent/balance/pick/policies.js';
import type { OAuthSettings } from './OAuthSettings.js';
import type { SeveralSettings } from './targets/SeveralSettings.js';

/** The protocol's two eras: `legacy` speaks `initialize` (2024-10-07 to 2025-11-25), `modern` is 2026-07-28. */
export type Era = 'legacy' | 'modern';

/**
 * How callers share a server. `shared`: calls of one principal are multiplexed. `leased`: a caller borrows a whole
 * connection. `bound`: one connection per downstream session (`Caller.key`).
 */
export type Sharing = 'shared' | 'leased' | 'bound';

export interface StdioTarget {
  /** Tells a program from a URL. */
  readonly transport: 'stdio';
  /** The program: a path or a name on PATH. Never a shell line. */
  readonly command: string;
  /** Its arguments. @defaultValue [] */
  readonly args?: readonly string[];
  /** Added to the inherited allow-list; wins over it. @defaultValue {} */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory. @defaultValue this process's own */
  readonly cwd?: string;
  /** Names of this process's variables that the child gets too, beyond the allow-list. @defaultValue [] */
  readonly inheritEnv?: readonly string[];
}

export interface UrlTarget {
  /**
   * Left out, `UnifiedPool` tries Streamable HTTP, then the older SSE transport, and remembers; the other pools know
   * their own.
   * @defaultValue found out
   */
  readonly transport?: 'http' | 'sse';
  /** An absolute http or https URL. */
  readonly url: string;
  /** Sent with every request to that origin; never to another. @defaultValue {} */
  readonly headers?: Readonly<Record<string, string>>;
  /** How it is signed in to. A pool needs `credentials` for it, such as those of `UpstreamOAuth`. @defaultValue not at all */
  readonly auth?: OAuthSettings;
}

/** What any server may set for itself; what it leaves out comes from its pool's options. */
export interface ServerSettings {
  /** How it is called in this pool; unique there. */
  readonly name: string;
  /** `false` registers it without letting it start. @defaultValue true */
  readonly enabled?: boolean;
  /**
   * Which era of the protocol is spoken; `auto` asks the server.
   * @defaultValue 'legacy' on stdio and SSE, 'auto' on HTTP
   */
  readonly era?: Era | 'auto';
  /** How callers share its connections. @defaultValue 'shared' */
  readonly sharing?: Sharing;
  /**
   * What this side can do for the server (sampling, elicitation, roots). Part of what keeps connections apart.
   * @defaultValue the pool's
   */
  readonly clientCapabilities?: ClientCapabilities;
  /** Connections kept started ahead of use, in `leased` and `bound` mode, from 0 (none). @defaultValue 0 */
  readonly warmSpares?: number;
  /** Most connections over all principals and keys, from 1. @defaultValue the pool's */
  readonly maxConnections?: number;
  /**
   * Most calls in flight on one shared connection, from 1; `auto`: as many over all connections as the server is found to take
   * at a time.
   * @defaultValue the pool's
   */
  readonly maxConcurrent?: number | 'auto';
  /** Most callers waiting, from 0 (none may wait). @defaultValue the pool's */
  readonly maxQueue?: number;
  /** Most bytes of one message, each way, from 1024. @defaultValue the pool's */
  readonly maxMessageBytes?: number;
  /** Longest wait in the queue, in ms, from 1; `Infinity` waits without bound. @defaultValue the pool's */
  readonly acquireTimeoutMs?: number;
  /** Longest start, handshake included, in ms, from 1; `Infinity` waits without bound. @defaultValue the pool's */
  readonly startTimeoutMs?: number;
  /** An idle connection ends after this many ms, from 1; `Infinity` keeps it. @defaultValue the pool's */
  readonly idleTimeoutMs?: number;
  /**
   * Longest call from its send, in ms, from 1: `default`, and `byTool` by the names of tools for `tools/call`. A gateway's call
   * whose client asked for progress has it from each notification of that anew, and the pool's `maxTotalTimeoutMs` in all.
   * @defaultValue the pool's `requestTimeoutMs`
   */
  readonly timeouts?: { readonly default?: number; readonly byTool?: Readonly<Record<string, number>> };
  /**
   * Tools that may run more than once for one call, by the server's own names, `*` for any text: of a `shared` server, their calls are
   * sent again where they may have run, hedged and mirrored. What a tool says of itself is not trusted.
   * @defaultValue none
   */
  readonly repeatable?: readonly string[];
}

/** Where calls to one of several targets go, beside how it is reached. */
export interface TargetPlace {
  /** Its part of the calls in relation to the others, from 0 (none) to 1,000,000. @defaultValue 1 */
  readonly weight?: number;
  /** Where it is: with a `zone` of the server's own, targets of that one are preferred. @defaultValue none */
  readonly zone?: string;
}

/** One of several servers behind one name. A program needs no `transport`; a URL without one has the server's. */
export type ServerTarget = TargetReach & TargetPlace;

/** How one of several targets is reached: by a program or by a URL. */
export type TargetReach = (Omit<StdioTarget, 'transport'> & { readonly transport?: 'stdio' }) | UrlTarget;

/** Several servers that do the same, behind one name. */
export interface SeveralTargets extends SeveralSettings {
  /** Of the targets that name none. @defaultValue that of each target */
  readonly transport?: 'stdio' | 'http' | 'sse';
  /** The servers behind the name, 1 to 64, in the order in which `failover` takes them. */
  readonly targets: readonly ServerTarget[];
  /**
   * How a target is chosen for each call, and for each session of a `bound` server: see `Balancer`. `hash` goes by the
   * caller's key, else its principal.
   * @defaultValue 'p2c-ewma'
   */
  readonly balance?: BalancePolicy;
  /** The target `to` gets a copy of a share, `ratio` (0.01), of the calls that may be repeated; its answers are compared unless `compare` is false. @defaultValue none */
  readonly mirror?: { readonly to: TargetReach; readonly ratio?: number; readonly compare?: boolean };
  /** The target `to` answers a share, `ratio` (0.01), of the calls that may be repeated, in place of the targets, which answer where it fails. @defaultValue none */
  readonly canary?: { readonly to: TargetReach; readonly ratio?: number };
}

export type StdioServerConfig = StdioTarget & ServerSettings;
export type UrlServerConfig = UrlTarget & ServerSettings;
/** A server that is one program or one URL. */
export type SingleServerConfig = (StdioTarget | UrlTarget) & ServerSettings;
/** A server that is several. */
export type SeveralServersConfig = SeveralTargets & ServerSettings;

/** One server as a pool takes it. The `mcpServers` file shape maps onto it. */
export type ServerConfig = SingleServerConfig | SeveralServersConfig;
