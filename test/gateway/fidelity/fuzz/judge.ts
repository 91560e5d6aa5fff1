import type { Input, Observed } from './Input.js';
import { VERSION } from './making/messages.js';

const META_VERSION = 'io.modelcontextprotocol/protocolVersion';
const KNOWN_PATH = /^(\/mcp|\/servers\/(one|two)\/mcp)$/;
/** What HTTP itself may say of a request that is not well made. 0: the connection is closed. */
const AT_FAULT = [0, 200, 202, 204, 400, 403, 404, 405, 406, 408, 411, 413, 414, 415, 417, 426, 431];

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isId = (value: unknown): boolean => typeof value === 'string' || typeof value === 'number';

/** What is wrong with what came back; undefined when nothing is. */
export function judge(input: Input, observed: Observed): string | undefined {
  const { status, hung, body } = observed;
  if (hung) return 'no answer';
  if (status === -1) return undefined;
  if (status >= 500) return `status ${status}: ${body.slice(0, 300)}`;
  if (body.includes('"message":"internal error"')) return `a fault: ${body.slice(0, 300)}`;
  if (input.raw !== undefined) return AT_FAULT.includes(status) ? undefined : `status ${status} of a raw input`;
  const allowed = statusesOf(input);
  if (!allowed.includes(status)) return `status ${status}, not ${allowed.join(' or ')}: ${body.slice(0, 300)}`;
  return input.odd ? undefined : contentProblem(input, observed);
}

/** The statuses of the specification. */
function statusesOf(input: Input): readonly number[] {
  const { method, path, odd, front } = input;
  if (odd) return AT_FAULT;
  if (!KNOWN_PATH.test(path)) return [200, 202, 400, 404, 405, 406, 414, 431];
  const modern = isModernRequest(input);
  if (front !== 'sse') {
    if (method === 'GET') return modern ? [405] : [200, 406];
    if (method === 'DELETE') return modern ? [405] : [200];
    if (method !== 'POST') return [405];
  }
  const message = parsed(input.body);
  // A body that costs more memory than it is worth is refused whatever it says.
  const large = input.body.length > 10_000 ? [413] : [];
  if (message === undefined) return [400, ...large];
  if (front === 'sse')
    return [...(validKind(message) === 'invalid' && !Array.isArray(message) ? [400] : [202, 400]), ...large];
  return [...(modern ? modernStatuses(message) : legacyStatuses(message, input)), ...large];
}

const headerOf = ({ headers }: Input, name: string): string | undefined => headers.find(([each]) => each === name)?.[1];

function isModernRequest(input: Input): boolean {
  if (headerOf(input, 'mcp-protocol-version') === VERSION) return true;
  if (input.method !== 'POST') return false;
  const message = parsed(input.body);
  const meta = isObject(message) && isObject(message['params']) ? message['params']['_meta'] : undefined;
  return isObject(meta) && META_VERSION in meta;
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown;
  } catch {
    return undefined;
  }
}

function validKind(message: unknown): 'request' | 'notification' | 'response' | 'invalid' {
  if (!isObject(message) || message['jsonrpc'] !== '2.0') return 'invalid';
  const { id, method, params } = message;
  if (method === undefined && ('result' in message || 'error' in message))
    return isId(id) || id === null ? 'response' : 'invalid';
  if (typeof method !== 'string' || (params !== undefined && !isObject(params))) return 'invalid';
  if (id === undefined) return 'notification';
  return isId(id) ? 'request' : 'invalid';
}

function legacyStatuses(message: unknown, { version }: Input): readonly number[] {
  if (Array.isArray(message)) return version === '2025-03-26' ? [200, 202, 400] : [400];
  const kind = validKind(message);
  if (kind === 'invalid') return [400];
  if (kind !== 'request') return [202];
  // `initialize` may say too much of its client.
  return (message as Json)['method'] === 'initialize' ? [200, 400] : [200];
}

/** -32601 is 404; what is not of the form is 400. */
function modernStatuses(message: unknown): readonly number[] {
  const kind = validKind(message);
  if (kind === 'invalid' || kind === 'response') return [400];
  return kind === 'notification' ? [202] : [200, 400, 404];
}

function contentProblem(input: Input, { status, body, type }: Observed): string | undefined {
  const message = parsed(input.body);
  if (input.method !== 'POST' || body === '' || input.front === 'sse' || !KNOWN_PATH.test(input.path)) return undefined;
  const answer = last(body, type);
  if (answer === undefined) return `not JSON: ${body.slice(0, 200)}`;
  if (Array.isArray(answer) || Array.isArray(message)) return undefined;
  if (answer['jsonrpc'] !== '2.0' || !('id' in answer)) return `no JSON-RPC: ${body.slice(0, 200)}`;
  const error = answer['error'];
  if ('result' in answer === (error !== undefined)) return `neither or both: ${body.slice(0, 200)}`;
  if (
    error !== undefined &&
    !(isObject(error) && Number.isInteger(error['code']) && typeof error['message'] === 'string')
  ) {
    return `no error: ${body.slice(0, 200)}`;
  }
  if (message === undefined && status === 400 && (error as Json)['code'] !== -32_700)
    return `no parse error: ${body.slice(0, 200)}`;
  if (validKind(message) !== 'request' || status === 413) return undefined;
  const { id, params } = message as Json;
  // An id that comes twice is not taken as it was written, and not every number is there otherwise.
  const unknowable = typeof id === 'number' && !Number.isFinite(id) && answer['id'] === null;
  if (answer['id'] !== id && !unknowable)
    return `id ${String(answer['id']).slice(0, 100)}, not ${String(id).slice(0, 100)}`;
  if (status === 404 && (error as Json)['code'] !== -32_601) return `404 with ${JSON.stringify(error).slice(0, 200)}`;
  return echoProblem(input, (message as Json)['method'], params, answer['result']);
}

/** Arguments come to the server as they are, and back. */
function echoProblem(input: Input, method: unknown, params: unknown, result: unknown): string | undefined {
  if (method !== 'tools/call' || !isObject(params) || !isObject(result)) return undefined;
  const echo = input.path === '/mcp' ? 'one__echo' : 'echo';
  if (params['name'] !== echo || input.path.includes('two')) return undefined;
  const given = textOf(params['arguments']);
  const [first] = (result['content'] ?? []) as { text?: string }[];
  if (first === undefined || given === undefined) return undefined;
  return first.text === given
    ? undefined
    : `arguments came as ${first.text?.slice(0, 200)}, not ${given.slice(0, 200)}`;
}

/** Undefined for what is too deep to be written. */
function textOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value) ?? 'none';
  } catch {
    return undefined;
  }
}

function last(body: string, type: string): Json | undefined {
  const text = type.startsWith('text/event-stream') ? ([...body.matchAll(/^data: (.+)$/gm)].at(-1)?.[1] ?? '') : body;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
