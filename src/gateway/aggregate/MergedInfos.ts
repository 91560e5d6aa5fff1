import type { Implementation } from '@modelcontextprotocol/client';
import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { packageVersion } from '../../core/version.js';
import type { ServerInfo } from '../../pool/McpPool.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { EndpointInfo } from '../endpoint/Endpoint.js';
import { type KnownServer, mergedInfo } from './mergedInfo.js';

/** States of servers whose clients' answers are remembered, of all principals and groups together. */
const MAX_STATES = 16;

/** What the clients of aggregates are told of their servers: made once for each state of those, so that all answers share it. */
export class MergedInfos {
  readonly #logger: Logger;
  readonly #serverInfo: Implementation = { name: 'mcp-poolkit', version: packageVersion() };
  /** The least recently used first. */
  readonly #byState = new Map<string, EndpointInfo>();
  /** One number for each handshake. */
  readonly #numbers = new WeakMap<ServerInfo, number>();
  /** Servers whose instructions were cut: it is told once. */
  readonly #cut = new Set<string>();
  #handshakes = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The same for the same state, in a turn of its own where there was none. */
  of(known: readonly KnownServer[], era: Era): EndpointInfo | Promise<EndpointInfo> {
    const state = JSON.stringify([
      era,
      ...known.map(({ server, info, pending }) => [server, this.#number(info), pending]),
    ]);
    return this.#known(state) ?? inTurnOrNow(() => this.#known(state) ?? this.#make(state, known, era));
  }

  #known(state: string): EndpointInfo | undefined {
    const info = this.#byState.get(state);
    if (info !== undefined) this.#keep(state, info);
    return info;
  }

  #make(state: string, known: readonly KnownServer[], era: Era): EndpointInfo {
    const info = mergedInfo(known, this.#serverInfo, era, (server) => this.#onCut(server));
    this.#keep(state, info);
    return info;
  }

  #keep(state: string, info: EndpointInfo): void {
    this.#byState.delete(state);
    this.#byState.set(state, info);
    const [oldest] = this.#byState.keys();
    if (this.#byState.size > MAX_STATES && oldest !== undefined) this.#byState.delete(oldest);
  }

  #number(info: ServerInfo | undefined): number {
    if (info === undefined) return 0;
    const number = this.#numbers.get(info) ?? ++this.#handshakes;
    this.#numbers.set(info, number);
    return number;
  }

  #onCut(server: string): void {
    if (this.#cut.has(server)) return;
    this.#cut.add(server);
    this.#logger.warn(
      { server },
      'what a server says of itself is too long for where all servers are: it is cut there',
    );
  }
}
