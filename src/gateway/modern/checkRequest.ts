import type { IncomingHttpHeaders } from 'node:http';
import type { CallClient } from '../../connection/protocol/messages.js';
import {
  META_CLIENT_CAPABILITIES,
  META_CLIENT_INFO,
  META_LOG_LEVEL,
  META_PROTOCOL_VERSION,
} from '../../connection/protocol/metaKeys.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { MODERN_VERSIONS } from '../../connection/protocol/versions.js';
import { capabilitiesProblem, clientInfoOf, type Params, type RequestMessage } from '../rpc/envelope.js';
import type { Failure } from '../rpc/failure.js';
import { LEVELS } from '../rpc/levels.js';
import { decodedHeader } from './headerText.js';

/** A request of the modern era that may be served. */
export interface ModernRequest extends RequestMessage {
  readonly params: Params;
  readonly client: CallClient;
  readonly logLevel: string | undefined;
}

/** Why one may not, and the HTTP status that says so (2026-07-28, Streamable HTTP). */
export interface Unfit {
  readonly status: number;
  readonly failure: Failure;
}

/** Where a request's name stands that its `Mcp-Name` header repeats. */
export const NAMED_BY: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** Versions are dates: those of the modern era begin with its first. */
const isModernVersion = (version: unknown): boolean =>
  typeof version === 'string' && !/^20(1\d|2[0-5])-/.test(version) && version >= '2026-07-28';

const metaOf = (message: unknown): Params | undefined => {
  const params = isObject(message) ? message['params'] : undefined;
  const meta = isObject(params) ? params['_meta'] : undefined;
  return isObject(meta) ? meta : undefined;
};

const claims = (message: unknown): boolean => Object.hasOwn(metaOf(message) ?? {}, META_PROTOCOL_VERSION);

/**
 * Whether a body is of the modern era: it says so in its envelope, or its version header does. `initialize` without an
 * envelope is the legacy handshake whatever the header says.
 */
export function isModern(headers: IncomingHttpHeaders, body: unknown): boolean {
  if (Array.isArray(body)) return body.some(claims);
  if (claims(body)) return true;
  if (isObject(body) && body['method'] === 'initialize') return false;
  return isModernVersion(trimmed(headers['mcp-protocol-version']));
}

/** The request with what its envelope says, or why it cannot be served, in the order of the specification. */
export function checkRequest(headers: IncomingHttpHeaders, request: RequestMessage): ModernRequest | Unfit {
  const { method } = request;
  const params = request.params ?? {};
  const meta = params['_meta'];
  const problem = envelopeProblem(meta);
  if (problem !== undefined) return unfit(400, RPC_CODES.invalidParams, `Invalid params: ${problem}`);
  const envelope = meta as Params;
  const tooMuch = capabilitiesProblem({
    capabilities: envelope[META_CLIENT_CAPABILITIES],
    clientInfo: envelope[META_CLIENT_INFO],
  });
  if (tooMuch !== undefined) return unfit(400, RPC_CODES.invalidParams, `Invalid params: ${tooMuch}`);
  const version = String(envelope[META_PROTOCOL_VERSION]);
  const mismatch =
    differs('MCP-Protocol-Version', headers['mcp-protocol-version'], version) ??
    differs('Mcp-Method', headers['mcp-method'], method) ??
    nameProblem(headers['mcp-name'], method, params);
  if (mismatch !== undefined) return unfit(400, RPC_CODES.headerMismatch, mismatch);
  if (!MODERN_VERSIONS.includes(version)) {
    const data = { supported: [...MODERN_VERSIONS], requested: version };
    return unfit(400, RPC_CODES.unsupportedVersion, `Unsupported protocol version: ${version}`, data);
  }
  const logLevel = envelope[META_LOG_LEVEL];
  return {
    client: {
      clientInfo: clientInfoOf(envelope[META_CLIENT_INFO]),
      capabilities: envelope[META_CLIENT_CAPABILITIES] as CallClient['capabilities'],
    },
    logLevel: typeof logLevel === 'string' ? logLevel : undefined,
    ...request,
    params,
  };
}

export const isUnfit = (checked: ModernRequest | Unfit): checked is Unfit => 'failure' in checked;

/**
 * The HTTP status of an error (2026-07-28, Streamable HTTP). That headers do not agree with a body is for the gateway to say, of a call
 * that never ran: of a server's error of that code it is not known whether it ran.
 */
export function statusOf(code: number, ofServer: boolean): number {
  if (code === RPC_CODES.methodNotFound) return 404;
  if (ofServer && code === RPC_CODES.headerMismatch) return 200;
  const bad: readonly number[] = [
    RPC_CODES.headerMismatch,
    RPC_CODES.missingClientCapability,
    RPC_CODES.unsupportedVersion,
  ];
  return bad.includes(code) ? 400 : 200;
}

function unfit(status: number, code: number, message: string, data?: unknown): Unfit {
  return { status, failure: { code, message, ...(data === undefined ? {} : { data }) } };
}

function envelopeProblem(meta: unknown): string | undefined {
  if (!isObject(meta)) return '_meta is missing';
  for (const key of [META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES]) {
    if (!Object.hasOwn(meta, key)) return `_meta lacks ${key}`;
  }
  if (typeof meta[META_PROTOCOL_VERSION] !== 'string') return `${META_PROTOCOL_VERSION} is a string`;
  if (!isObject(meta[META_CLIENT_CAPABILITIES])) return `${META_CLIENT_CAPABILITIES} is an object`;
  const info = meta[META_CLIENT_INFO];
  if (info !== undefined && clientInfoOf(info) === undefined) return `${META_CLIENT_INFO} has a name and a version`;
  const level = meta[META_LOG_LEVEL];
  return level === undefined || LEVELS.includes(level as string)
    ? undefined
    : `${META_LOG_LEVEL} is none of the levels`;
}

function differs(name: string, header: string | string[] | undefined, body: string): string | undefined {
  const value = trimmed(header);
  if (value === undefined) return `Bad Request: the ${name} header is missing; the body says ${show(body)}`;
  return value === body ? undefined : `Bad Request: the ${name} header says ${show(value)}, the body ${show(body)}`;
}

function nameProblem(header: string | string[] | undefined, method: string, params: Params): string | undefined {
  const body = params[NAMED_BY.get(method) ?? ''];
  if (typeof body !== 'string') return undefined;
  const value = trimmed(header);
  const decoded = value === undefined ? undefined : decodedHeader(value);
  if (value !== undefined && decoded === undefined) return 'Bad Request: the Mcp-Name header is no valid base64';
  return differs('Mcp-Name', decoded, body);
}

/** A header without the space around it that HTTP allows. */
export function trimmed(header: string | string[] | undefined): string | undefined {
  if (typeof header !== 'string') return undefined;
  let [start, end] = [0, header.length];
  while (start < end && isBlank(header.charCodeAt(start))) start++;
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--;
  return header.slice(start, end);
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

const show = (text: string): string => JSON.stringify(text.slice(0, 200));
