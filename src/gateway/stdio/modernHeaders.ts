import type { Tool } from '@modelcontextprotocol/client';
import { headerValue, paramHeaders } from '../../connection/http/paramHeaders.js';
import { META_PROTOCOL_VERSION } from '../../connection/protocol/metaKeys.js';
import { NAMED_BY } from '../modern/checkRequest.js';
import type { Params } from '../rpc/envelope.js';

const MAX_TOOLS = 10_000;

/** The version that a message of the modern era names; undefined for one of the legacy era. */
export function modernVersionOf(params: Params | undefined): string | undefined {
  const meta = params?.['_meta'];
  const version = typeof meta === 'object' && meta !== null ? (meta as Params)[META_PROTOCOL_VERSION] : undefined;
  return typeof version === 'string' ? version : undefined;
}

/** Puts into headers what Streamable HTTP of the modern era repeats there, and stdio does not. */
export class ModernHeaders {
  readonly #tools = new Map<string, Tool>();

  of(version: string, method: string, params: Params): Record<string, string> {
    const name = params[NAMED_BY.get(method) ?? ''];
    const headers: Record<string, string> = { 'mcp-protocol-version': version, 'mcp-method': method };
    if (typeof name === 'string') headers['mcp-name'] = headerValue(name);
    const tool = method === 'tools/call' ? this.#tools.get(String(name)) : undefined;
    const own = tool === undefined ? [] : paramHeaders(tool, params['arguments']);
    for (let i = 0; i < own.length; i += 2) headers[own[i] as string] = own[i + 1] as string;
    return headers;
  }

  /** What tools say about headers, from an answer to `tools/list`. */
  learn(answer: string): void {
    const tools = (JSON.parse(answer) as { readonly result?: { readonly tools?: unknown } }).result?.tools;
    if (!Array.isArray(tools)) return;
    for (const tool of tools as Tool[]) {
      if (typeof tool?.name === 'string' && this.#tools.size < MAX_TOOLS) this.#tools.set(tool.name, tool);
    }
  }
}
