import type { IncomingHttpHeaders } from 'node:http';
import type { Tool } from '@modelcontextprotocol/client';
import { headerNames, paramHeaders } from '../../connection/http/paramHeaders.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { trimmed } from './checkRequest.js';
import { decodedHeader } from './headerText.js';

/** A server's tools, by their own names. */
type Tools = ReadonlyMap<string, Tool>;

/** Servers whose tools are remembered. */
const MAX_SERVERS = 1_000;

/** The tools of servers, for the headers that their schemas ask for: read once, and again after they changed. */
export class ToolDefinitions {
  readonly #logger: Logger;
  readonly #tools = new Map<string, Promise<Tools>>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** A tool's definition; undefined for one there is not, and when the list cannot be read. */
  async get(server: string, name: unknown, list: () => Promise<readonly Tool[]>): Promise<Tool | undefined> {
    if (typeof name !== 'string') return undefined;
    let known = this.#tools.get(server);
    if (known === undefined) {
      known = list().then((tools) => new Map(tools.map((tool) => [tool.name, tool])));
      const [oldest] = this.#tools.keys();
      if (this.#tools.size >= MAX_SERVERS && oldest !== undefined) this.#tools.delete(oldest);
      this.#tools.set(server, known);
    }
    try {
      return (await known).get(name);
    } catch (error) {
      if (this.#tools.get(server) === known) this.#tools.delete(server);
      this.#logger.debug({ server, error: messageOf(error) }, 'the headers of a call could not be checked');
      return undefined;
    }
  }

  /** They may be others from now on. */
  forget(server: string): void {
    this.#tools.delete(server);
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
