import type { OutgoingHttpHeaders } from 'node:http';
import type { Tool } from '@modelcontextprotocol/client';
import { costsMore, MAX_ANSWER_COST } from '../../connection/channel/codec/parsingCost.js';
import { declaredBy, headersOf, headerValue, type ParamHeader } from '../../connection/http/paramHeaders.js';
import { META_PROTOCOL_VERSION } from '../../connection/protocol/metaKeys.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { NotSentError, show } from '../../core/errors.js';
import { type WaitBounds, withDeadline } from '../../core/time/within.js';
import { NAMED_BY } from '../modern/checkRequest.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { READS_FAILURES } from './calls/toldFailure.js';
import { type HttpLink, OWN_MS } from './HttpLink.js';
import { answerOf } from './readResponse.js';

const MAX_TOOLS = 10_000;
/** What their names and those of their headers hold together, in bytes; of one tool at most an eighth of it. */
const MAX_KEPT_BYTES = 8 * 1_024 * 1_024;
/** Beside its characters, what is kept of a tool and of each of its headers. */
const EACH_BYTES = 128;
/** Of a list that is asked for. */
const MAX_PAGES = 100;
/** Characters of all of them: a gateway takes 16 KiB of headers. */
const MAX_CHARS = 12 * 1_024;

export const ACCEPT: OutgoingHttpHeaders = Object.freeze({
  accept: 'application/json, text/event-stream',
  'content-type': 'application/json',
  ...READS_FAILURES,
});

/** Whether a text can stand in a header as it is. */
export const isHeaderText = (text: string): boolean => /^[\x21-\x7e]{1,256}$/.test(text);

/** The version that a message of the modern era names; undefined for one of the legacy era. */
export function modernVersionOf(params: Params | undefined): string | undefined {
  const meta = params?.['_meta'];
  const version = typeof meta === 'object' && meta !== null ? (meta as Params)[META_PROTOCOL_VERSION] : undefined;
  return typeof version === 'string' ? version : undefined;
}

/** Puts into headers what Streamable HTTP of the modern era repeats there, and stdio does not. */
export class ModernHeaders {
  /** Of a definition only this is kept: the rest may be of any size. */
  readonly #tools = new Map<string, { readonly declared: readonly ParamHeader[]; readonly bytes: number }>();
  #bytes = 0;

  /** @throws Refusal for what no header can say */
  of(version: string, method: string, params: Params): Record<string, string> {
    if (!isHeaderText(version)) throw new Refusal(RPC_CODES.invalidParams, `${show(version)} is no protocol version`);
    if (!isHeaderText(method)) throw new Refusal(RPC_CODES.methodNotFound, `there is no method ${show(method)}`);
    const name = params[NAMED_BY.get(method) ?? ''];
    const headers: Record<string, string> = { 'mcp-protocol-version': version, 'mcp-method': method };
    if (typeof name === 'string') headers['mcp-name'] = headerValue(name);
    const tool = method === 'tools/call' ? this.#tools.get(name as string) : undefined;
    const own = tool === undefined ? [] : headersOf(tool.declared, params['arguments']);
    for (let i = 0; i < own.length; i += 2) headers[own[i] as string] = own[i + 1] as string;
    const chars = Object.values(headers).reduce((sum, value) => sum + value.length, 0);
    if (chars > MAX_CHARS) {
      const why = `what ${method} names takes ${chars} characters of headers: at most ${MAX_CHARS} are sent`;
      throw new Refusal(RPC_CODES.invalidParams, why);
    }
    return headers;
  }

  /** Asks for the list of tools, page by page, up to the one that a call names, and learns it. */
  async ask(
    link: HttpLink,
    version: string,
    params: Params,
    { clock, signal }: Pick<WaitBounds, 'clock' | 'signal'>,
  ): Promise<void> {
    const { _meta, name } = params;
    const method = 'tools/list';
    const headers = { ...ACCEPT, ...this.of(version, method, {}) };
    const late = (): Error =>
      new NotSentError('gateway', `tools/list, asked first, was not answered within ${OWN_MS} ms`);
    await withDeadline({ clock, signal, timeoutMs: OWN_MS, late }, async (within) => {
      let cursor: string | undefined;
      for (let page = 1; page <= MAX_PAGES; page++) {
        const id = JSON.stringify(`tools-${page}`);
        const asked = JSON.stringify({ _meta, ...(cursor !== undefined && { cursor }) });
        const body = `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${asked}}`;
        const response = await link
          .request({ method: 'POST', headers, body, signal: within })
          .catch((error: unknown) => {
            throw within.aborted ? within.reason : error;
          });
        const { tools, nextCursor } = this.learn(await answerOf(response, id, link.incoming, within));
        if (nextCursor === undefined || tools.some((tool) => tool.name === name)) return;
        cursor = nextCursor;
      }
    });
  }

  /** What tools say about headers, from an answer to `tools/list`. */
  learn(answer: string): Page {
    const { tools, nextCursor } = costsMore(answer, MAX_ANSWER_COST) ? {} : pageIn(answer);
    const named = Array.isArray(tools) ? (tools as Tool[]).filter((tool) => typeof tool?.name === 'string') : [];
    for (const tool of named) this.#keep(tool);
    return { tools: named, nextCursor: typeof nextCursor === 'string' ? nextCursor : undefined };
  }

  #keep(tool: Tool): void {
    this.#forget(tool.name);
    const declared = declaredBy(tool);
    const bytes = bytesOf(tool.name, declared);
    // Tools without any, of whatever server, take no room here.
    if (declared.length === 0 || bytes > MAX_KEPT_BYTES / 8) return;
    this.#tools.set(tool.name, { declared, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#tools.keys()) {
      if (this.#tools.size <= MAX_TOOLS && this.#bytes <= MAX_KEPT_BYTES) break;
      this.#forget(oldest);
    }
  }

  #forget(name: string): void {
    this.#bytes -= this.#tools.get(name)?.bytes ?? 0;
    this.#tools.delete(name);
  }
}

function bytesOf(name: string, declared: readonly ParamHeader[]): number {
  const chars = declared.flatMap(({ header, path }) => [header, ...path]).reduce((sum, text) => sum + text.length, 0);
  return 2 * (name.length + chars) + EACH_BYTES * (1 + declared.length);
}

interface Page {
  readonly tools: readonly Tool[];
  readonly nextCursor: string | undefined;
}

function pageIn(answer: string): { readonly tools?: unknown; readonly nextCursor?: unknown } {
  const { result } = JSON.parse(answer) as { readonly result?: unknown };
  return typeof result === 'object' && result !== null ? result : {};
}
