import type { TokensOption } from '../auth/tokensFlag.js';

/** What `serve` is told on the command line. */
export interface ServeOptions extends TokensOption {
  readonly config?: string;
  readonly host: string;
  readonly port: number;
  readonly allowHost?: string[];
  readonly allowOrigin?: string[];
  readonly graceMs: number;
  /** In ms. */
  readonly propagationDelay: number;
  /** A folder. */
  readonly cache?: string;
  /** Files, and variables as `env:NAME`. */
  readonly sessionKey?: string[];
  /** Where replicas meet. */
  readonly redis?: string;
  /** Processes that share the port. */
  readonly workers?: number;
  /** Serve one client over stdin and stdout, and do not listen. */
  readonly stdio?: boolean;
  readonly exitUnusedMs?: number;
  readonly metrics?: boolean;
  /** `/sse` beside each `/mcp`. */
  readonly sse?: boolean;
  /** A page at /status, on loopback. */
  readonly status: boolean;
  readonly json?: boolean;
  readonly logLevel: string;
}
