import type { IncomingHttpHeaders } from 'node:http';
import type { Tool } from '@modelcontextprotocol/client';
import { headerNames, paramHeaders } from '../../connection/http/paramHeaders.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { type CallSignal, signalOf } from '../../core/wait/Cancellation.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import { trimmed } from './checkRequest.js';
import { decodedHeader } from './headerText.js';

/** A server's tools, by their own names. */
type Tools = ReadonlyMap<string, Tool>;

/** Servers whose tools are remembered. */
const MAX_SERVERS = 1_000;

/** The tools of servers, for the headers that their schemas ask for: read once, and again after they changed. */
export class ToolDefinitions {
  readonly #logger: Logger;
  readonly #tools = new Map<string, Tools>();
  readonly #reading = new SingleFlight<string>();
  /** By server, the reading that is not outdated by a `forget`. */
  readonly #current = new Map<string, object>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /**
   * A tool's definition; undefined for one there is not, and when the list cannot be read. `signal`: the call's, which waits no longer; when no
   * other call waits either, the reading ends.
   */
  async get(
    server: string,
    name: unknown,
    list: (signal: AbortSignal) => Promise<readonly Tool[]>,
    signal?: CallSignal,
  ): Promise<Tool | undefined> {
    if (typeof name !== 'string') return undefined;
    const known = this.#tools.get(server);
    if (known !== undefined) return known.get(name);
    try {
      return (await this.#reading.run(server, (own) => this.#read(server, list(own)), signalOf(signal))).get(name);
    } catch (error) {
      this.#logger.debug({ server, error: messageOf(error) }, 'the headers of a call could not be checked');
      return undefined;
    }
  }

  /** They may be others from now on. */
  forget(server: string): void {
    this.#tools.delete(server);
    this.#current.delete(server);
    this.#reading.forget(server);
  }

  async #read(server: string, list: Promise<readonly Tool[]>): Promise<Tools> {
    const reading = {};
    this.#current.set(server, reading);
    try {
      const tools = new Map((await list).map((tool) => [tool.name, tool]));
      if (this.#current.get(server) === reading) this.#keep(server, tools);
      return tools;
    } finally {
      if (this.#current.get(server) === reading) this.#current.delete(server);
    }
  }

  #keep(server: string, tools: Tools): void {
    const [oldest] = this.#tools.keys();
    if (this.#tools.size >= MAX_SERVERS && oldest !== undefined) this.#tools.delete(oldest);
    this.#tools.set(server, tools);
  }
}

/**
 * Why the `Mcp-Param-*` headers of a call do not say what its arguments say; undefined when they do. Every argument whose
 * schema names a header must be repeated in it (2026-07-28, custom headers from tool parameters).
 */
export function paramProblem(headers: IncomingHttpHeaders, tool: Tool, args: unknown): string | undefined {
  const expected = new Map<string, string>();
  const pairs = paramHeaders(tool, args);
  for (let i = 0; i < pairs.length; i += 2) expected.set(String(pairs[i]), String(pairs[i + 1]));
  for (const name of headerNames(tool)) {
    const given = trimmed(headers[name]);
    const wanted = expected.get(name);
    if (given === undefined && wanted === undefined) continue;
    if (given === undefined) return `Bad Request: the ${name} header is missing`;
    const decoded = decodedHeader(given);
    if (decoded === undefined) return `Bad Request: the ${name} header is no valid base64`;
    if (wanted === undefined || decoded !== decodedHeader(wanted)) {
      return `Bad Request: the ${name} header does not say what the arguments say`;
    }
  }
  return undefined;
}
