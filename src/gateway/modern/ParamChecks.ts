import type { IncomingHttpHeaders } from 'node:http';
import type { Tool } from '@modelcontextprotocol/client';
import { repeatsName } from '../../connection/channel/codec/members.js';
import { headerNames, paramHeaders } from '../../connection/http/paramHeaders.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { AcquireTimeoutError, messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { type CallSignal, signalOf } from '../../core/wait/Cancellation.js';
import { SingleFlight } from '../../core/wait/SingleFlight.js';
import { type Known as KnownList, KnownLists } from '../aggregate/lists/KnownLists.js';
import { validItems } from '../aggregate/lists/validItems.js';
import { trimmed } from './checkRequest.js';
import { decodedHeader } from './headerText.js';

/** A server's tools, by their own names. */
type Tools = ReadonlyMap<string, Tool>;

/** Tools that are known are read again no sooner, in ms, and not within ten times of what their reading took. */
const AGAIN_MS = 1_000;

/** Reads all tools of a server. */
type ListTools = (signal: AbortSignal) => Promise<readonly Tool[]>;

interface Known extends KnownList<Tool> {
  readonly tools: Tools;
  /** Clock ms before which they are not read again for what one caller says. */
  againMs: number;
}

/** The tools of servers, for the headers that their schemas ask for: read once, and again after they changed. */
export class ToolDefinitions {
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** They have their part of what the lists of all may take. */
  readonly #lists = new KnownLists<Tool>();
  readonly #reading = new SingleFlight<string>();
  /** By server, the reading that is not outdated by a `forget`. */
  readonly #current = new Map<string, object>();

  constructor(logger: Logger, clock: Clock = systemClock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /**
   * A tool's definition; undefined for one there is not, and when the list cannot be read. `signal`: the call's, which waits no longer; when no
   * other call waits either, the reading ends. @throws AcquireTimeoutError for a call that has waited for the server as long as a call may
   */
  async get(server: string, name: unknown, list: ListTools, signal?: CallSignal): Promise<Tool | undefined> {
    if (typeof name !== 'string') return undefined;
    const known = this.#known(server);
    if (known === undefined) return this.#newest(server, name, list, signal);
    this.#lists.use(server, known);
    return known.tools.get(name);
  }

  /**
   * The same as the server tells it now, for a caller that those which are known do not fit: for all others these stand meanwhile. Undefined
   * also when they were read a moment ago.
   */
  async again(server: string, name: unknown, list: ListTools, signal?: CallSignal): Promise<Tool | undefined> {
    if (typeof name !== 'string') return undefined;
    const { againMs = Number.NEGATIVE_INFINITY } = this.#known(server) ?? {};
    if (this.#clock.now() < againMs && !this.#reading.has(server)) return undefined;
    return this.#newest(server, name, list, signal).catch(() => undefined);
  }

  /** A call was refused for them: they are read again by the next, unless that was done a moment ago. */
  doubt(server: string): void {
    if (this.#clock.now() >= (this.#known(server)?.againMs ?? Number.POSITIVE_INFINITY)) this.forget(server);
  }

  /** They may be others from now on. */
  forget(server: string): void {
    this.#lists.forget(server);
    this.#current.delete(server);
    this.#reading.forget(server);
  }

  async #newest(
    server: string,
    name: string,
    list: ListTools,
    signal: CallSignal | undefined,
  ): Promise<Tool | undefined> {
    const startMs = this.#clock.now();
    try {
      return (await this.#reading.run(server, (own) => this.#read(server, list(own)), signalOf(signal))).get(name);
    } catch (error) {
      // The call itself would wait as long once more.
      if (error instanceof AcquireTimeoutError && this.#clock.now() - startMs >= error.timeoutMs) throw error;
      this.#logger.debug({ server, error: messageOf(error) }, 'the headers of a call could not be checked');
      return undefined;
    }
  }

  async #read(server: string, list: Promise<readonly Tool[]>): Promise<Tools> {
    const reading = {};
    this.#current.set(server, reading);
    const startMs = this.#clock.now();
    const againMs = (): number => this.#clock.now() + Math.max(AGAIN_MS, 10 * (this.#clock.now() - startMs));
    try {
      const { items, index, bytes } = await validItems('tools', await list);
      const tools = new Map(items.map((tool) => [tool.name, tool]));
      const kept = { items, index, bytes, hints: {}, untilMs: undefined, id: {}, outdated: false };
      if (this.#current.get(server) === reading)
        this.#lists.keep(server, { ...kept, tools, againMs: againMs() } as Known);
      return tools;
    } catch (error) {
      const known = this.#known(server);
      if (known !== undefined) known.againMs = againMs();
      throw error;
    } finally {
      if (this.#current.get(server) === reading) this.#current.delete(server);
    }
  }

  #known(server: string): Known | undefined {
    return this.#lists.known.get(server) as Known | undefined;
  }
}

/**
 * Why the `Mcp-Param-*` headers of a call do not say what its arguments say; undefined when they do. Every argument whose
 * schema names a header must be repeated in it (2026-07-28, custom headers from tool parameters). `text`: the params as the server
 * gets them: of a name that comes twice it may read another than the header says.
 */
export function paramProblem(headers: IncomingHttpHeaders, tool: Tool, args: unknown, text = ''): string | undefined {
  const expected = new Map<string, string>();
  const pairs = paramHeaders(tool, args);
  for (let i = 0; i < pairs.length; i += 2) expected.set(String(pairs[i]), String(pairs[i + 1]));
  const names = headerNames(tool);
  if (names.length > 0 && repeatsName(text))
    return 'Bad Request: a name comes twice in the params: headers say one of the two';
  for (const name of names) {
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
