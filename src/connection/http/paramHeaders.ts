import type { Tool } from '@modelcontextprotocol/client';
import { OptionError, show } from '../../core/errors.js';
import { repeatsName } from '../channel/codec/members.js';
import type { Params } from '../protocol/messages.js';

/** An argument that also goes into a header: where it is, and the header's name. */
export interface ParamHeader {
  readonly header: string;
  readonly path: readonly string[];
}

const NONE: readonly ParamHeader[] = Object.freeze([]);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: readonly unknown[] = ['string', 'integer', 'boolean'];
/** Of a schema, so many levels of properties are looked at. */
const MAX_DEPTH = 64;
/** So many headers are looked for in a call, the first that a schema declares: no head has room for more. */
const MAX_DECLARED = 256;
/** Characters of what one call says in headers: most servers take 16 KiB of all of them. */
const MAX_SAID_CHARS = 12 * 1_024;
const byTool = new WeakMap<object, readonly ParamHeader[]>();

/**
 * The `Mcp-Param-*` headers of one `tools/call`, names and values in turn: one for each argument whose property in the
 * tool's `inputSchema` says `x-mcp-header` (2026-07-28, Streamable HTTP, custom headers from tool parameters). An
 * argument that is absent, null or no primitive has none. `text`: the params as they are sent.
 * @throws OptionError where a name comes twice in it: who reads the arguments may take another than the headers say
 */
export function paramHeaders(tool: Tool, args: unknown, text = ''): string[] {
  const declared = declaredBy(tool);
  if (declared.length > 0 && repeatsName(text)) {
    throw new OptionError('params', tool.name, 'without names that come twice: headers say what its arguments say');
  }
  return headersOf(declared, args);
}

/** The same, of what `declaredBy` told of the tool. */
export function headersOf(declared: readonly ParamHeader[], args: unknown): string[] {
  const headers: string[] = [];
  for (const { header, path } of declared) {
    let value: unknown = args;
    for (const key of path) value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    const text = textOf(value);
    if (text !== undefined) headers.push(header, headerValue(text));
  }
  return headers;
}

/** The headers that a tool's schema names, in lower case. */
export function headerNames(tool: Tool): string[] {
  return declaredBy(tool).map(({ header }) => header);
}

/** Which arguments of a tool go into headers: nothing of its definition is kept by it but their names. */
export function declaredBy(tool: Tool): readonly ParamHeader[] {
  let declared = byTool.get(tool);
  if (declared === undefined) {
    declared = declaredIn(tool.inputSchema);
    byTool.set(tool, declared);
  }
  return declared;
}

/**
 * A header value for any text: itself when it is visible ASCII without spaces at its ends; else its UTF-8 bytes in
 * base64 between `=?base64?` and `?=`.
 */
export function headerValue(text: string): string {
  const plain = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(text);
  return plain && !/^=\?base64\?.*\?=$/.test(text) ? text : `=?base64?${Buffer.from(text).toString('base64')}?=`;
}

/** Callers choose it: what no header can hold, or no server takes, is their mistake, and none of the server. @throws OptionError */
export function sayable(method: string, said: string[]): string[] {
  if (!/^[\x21-\x7e]+$/.test(method)) throw new OptionError('method', method, 'one that a header can hold');
  const chars = said.reduce((sum, text) => sum + text.length, 0);
  if (chars <= MAX_SAID_CHARS) return said;
  throw new OptionError(
    'params',
    chars,
    `at most ${MAX_SAID_CHARS} characters of what ${show(method)} says in headers`,
  );
}

/** Every declaration that can be reached through `properties` alone; those of a wrong shape are passed over. */
function declaredIn(schema: unknown): readonly ParamHeader[] {
  const found: ParamHeader[] = [];
  const names = new Set<string>();
  const visit = (node: unknown, path: readonly string[]): void => {
    if (!isObject(node) || path.length > MAX_DEPTH || found.length === MAX_DECLARED) return;
    const name = node['x-mcp-header'];
    if (typeof name === 'string' && TOKEN.test(name) && path.length > 0 && TYPES.includes(node['type'])) {
      const header = `mcp-param-${name.toLowerCase()}`;
      if (!names.has(header)) found.push({ header, path });
      names.add(header);
    }
    const { properties } = node;
    if (!isObject(properties)) return;
    for (const [key, child] of Object.entries(properties)) visit(child, [...path, key]);
  };
  visit(schema, []);
  return found.length === 0 ? NONE : found;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value);
}

function isObject(value: unknown): value is Params {
  return typeof value === 'object' && value !== null;
}
