import type { Attributes } from '@opentelemetry/api';
import { PoolkitError, RpcError } from '../../core/errors.js';
import { ownText } from '../../core/text/ownText.js';
import type { TracedCall } from '../../pool/server/calls/trace.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { isSeveral } from '../../registry/config/targets/targetsOf.js';
import { methodLabel } from '../metrics/Labels.js';
import type { TracedRequest } from '../requests/requestTrace.js';

/** Most characters of a text that a peer chose, as of its span's target. */
export const MAX_SPAN_TEXT_CHARS = 1_024;

/** A name that stands for few operations: made-up methods are one. */
export function spanName({ method, target }: Pick<TracedCall, 'method' | 'target'>): string {
  const named = method === 'tools/call' || method === 'prompts/get';
  return named && target !== undefined ? `${method} ${target}` : methodLabel(method);
}

/** What an operation is (OpenTelemetry semantic conventions, MCP). `uri`: it is for a span, where it may be of any kind. */
export function operation({ method, target }: Pick<TracedCall, 'method' | 'target'>, uri: boolean): Attributes {
  const attributes: Attributes = {
    'mcp.method.name': uri ? ownText(method, MAX_SPAN_TEXT_CHARS) : methodLabel(method),
  };
  if (target === undefined) return attributes;
  if (method === 'tools/call') {
    attributes['gen_ai.operation.name'] = 'execute_tool';
    attributes['gen_ai.tool.name'] = target;
  } else if (method === 'prompts/get') attributes['gen_ai.prompt.name'] = target;
  else if (uri) attributes['mcp.resource.uri'] = target;
  return attributes;
}

/** As the outcome of a call has it. */
export const codeOf = (error: unknown): string => (error instanceof PoolkitError ? error.code : 'ABORTED');

/** How it failed; nothing for what went well. */
export function failure({ outcome, error }: Pick<TracedCall, 'outcome' | 'error'>): Attributes {
  if (outcome === undefined || outcome === 'ok') return {};
  if (!(error instanceof RpcError)) return { 'error.type': outcome };
  const code = String(error.rpcCode);
  return { 'error.type': code, 'rpc.response.status_code': code };
}

/** How a server is reached. */
export function upstream(config: ServerConfig | undefined, protocolVersion: string | undefined): Attributes {
  const attributes: Attributes = {};
  if (protocolVersion !== undefined) attributes['mcp.protocol.version'] = protocolVersion;
  if (config === undefined) return attributes;
  if (isSeveral(config)) return attributes;
  if (!('url' in config)) return { ...attributes, 'network.transport': 'pipe' };
  const { hostname, port, protocol } = new URL(config.url);
  return {
    ...attributes,
    'network.transport': 'tcp',
    'network.protocol.name': 'http',
    'server.address': hostname,
    'server.port': port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
  };
}

/** How a client reached us. */
export function downstream({ protocolVersion, transport }: TracedRequest): Attributes {
  return {
    ...(protocolVersion !== undefined && { 'mcp.protocol.version': protocolVersion }),
    ...(transport === 'http'
      ? { 'network.transport': 'tcp', 'network.protocol.name': 'http' }
      : { 'network.transport': 'pipe' }),
  };
}
