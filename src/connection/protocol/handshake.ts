import type { ClientCapabilities, Implementation, ServerCapabilities } from '@modelcontextprotocol/client';
import { ProtocolError } from '../../core/errors.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { Channel } from '../channel/Channel.js';
import type { CallClient, CallOptions, Params, ServerInfo } from './messages.js';
import { META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_PROTOCOL_VERSION, META_SERVER_INFO } from './metaKeys.js';
import {
  LEGACY_VERSIONS,
  legacyVersionOffered,
  MODERN_VERSIONS,
  modernVersionIn,
  modernVersionOffered,
} from './versions.js';

/** Who we say we are, and what we can do for the server. */
export interface ClientIdentity extends CallClient {
  readonly clientInfo: Implementation;
  readonly capabilities: ClientCapabilities;
  /** Legacy: the version asked for. @defaultValue the newest */
  readonly protocolVersion?: string | undefined;
}

export interface HandshakeOptions extends ClientIdentity {
  readonly server: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** The next request is a modern one, at this version: for transports whose requests say so outside the message. */
  readonly onModern?: (version: string) => void;
}

/**
 * Legacy: `initialize` at the newest version, whatever older one the server answers with, then `initialized`. A server
 * that refuses the version and names others is asked again at the newest of those. One that answers -32022 and names a
 * modern version goes on as modern on the same connection.
 */
export async function initializeLegacy(
  channel: Channel,
  options: HandshakeOptions,
  notify: Notify,
): Promise<ServerInfo> {
  const { server } = options;
  let result: unknown;
  try {
    result = await initialize(channel, options, options.protocolVersion ?? (LEGACY_VERSIONS[0] as string));
  } catch (error) {
    const version = modernVersionOffered(error);
    if (version === undefined) throw error;
    return discoverModern(channel, options, version);
  }
  const { protocolVersion, capabilities: theirs, serverInfo, instructions } = asObject(server, 'initialize', result);
  if (!LEGACY_VERSIONS.includes(protocolVersion as string)) {
    throw new ProtocolError(
      server,
      `it speaks protocol ${JSON.stringify(protocolVersion)}, not ${LEGACY_VERSIONS.join(', ')}`,
    );
  }
  notify('notifications/initialized', protocolVersion as string);
  return info(server, 'legacy', protocolVersion as string, theirs, serverInfo, instructions);
}

/** Asks at `version`, and at an older one each time that the server refuses it and names one. */
async function initialize(channel: Channel, options: HandshakeOptions, version: string): Promise<unknown> {
  const { clientInfo, capabilities } = options;
  try {
    return await channel.request(
      'initialize',
      { protocolVersion: version, capabilities, clientInfo },
      callOptions(options),
    );
  } catch (error) {
    const older = legacyVersionOffered(error, version);
    if (older === undefined) throw error;
    return initialize(channel, options, older);
  }
}

/** Modern: no handshake; `server/discover` tells the same, and every request carries the envelope from here on. */
export async function discoverModern(
  channel: Channel,
  options: HandshakeOptions,
  version: string = MODERN_VERSIONS[0] as string,
): Promise<ServerInfo> {
  return discovered(options, version, await discover(channel, options, version));
}

/**
 * The same of a server that may be of either era; undefined when its answer names no modern version that we speak: some servers
 * answer every method with an empty result.
 */
export async function discoverMaybe(
  channel: Channel,
  options: HandshakeOptions,
  version: string = MODERN_VERSIONS[0] as string,
): Promise<ServerInfo | undefined> {
  const answer = await discover(channel, options, version);
  return modernVersionIn(answer) === undefined ? undefined : discovered(options, version, answer);
}

function discover(channel: Channel, options: HandshakeOptions, version: string): Promise<unknown> {
  channel.envelope = modernEnvelope(options, version);
  options.onModern?.(version);
  return channel.request('server/discover', undefined, callOptions(options));
}

function discovered({ server }: HandshakeOptions, version: string, answer: unknown): ServerInfo {
  const result = asObject(server, 'server/discover', answer);
  const meta = result['_meta'] as Params | undefined;
  const named = result['serverInfo'] ?? meta?.[META_SERVER_INFO];
  return info(server, 'modern', version, result['capabilities'], named, result['instructions']);
}

/** What the modern era says in every request's `_meta`: of the connection, or of the client that the call is made for. */
export function modernEnvelope(identity: ClientIdentity, version: string): (client?: CallClient) => Params {
  const envelope = ({ clientInfo, capabilities }: CallClient): Params => ({
    [META_PROTOCOL_VERSION]: version,
    ...(clientInfo === undefined ? {} : { [META_CLIENT_INFO]: clientInfo }),
    [META_CLIENT_CAPABILITIES]: capabilities,
  });
  const own = envelope(identity);
  return (client) => (client === undefined ? own : envelope(client));
}

/** Posts a notification at the version agreed on. */
type Notify = (method: string, protocolVersion: string) => void;

function callOptions({ timeoutMs, signal }: HandshakeOptions): CallOptions {
  const bounds = { timeoutMs, acquireTimeoutMs: timeoutMs, maxTotalTimeoutMs: timeoutMs };
  return signal === undefined ? bounds : { ...bounds, signal };
}

function asObject(server: string, method: string, result: unknown): Params {
  if (typeof result === 'object' && result !== null && !Array.isArray(result)) return result as Params;
  throw new ProtocolError(server, `its answer to ${method} is not an object`);
}

/** What a server says of itself is kept as long as it lives, and told to each client that initialises. */
const MAX_INFO_BYTES = 1_024 * 1_024;

function info(
  server: string,
  era: Era,
  protocolVersion: string,
  capabilities: unknown,
  serverInfo: unknown,
  instructions: unknown,
): ServerInfo {
  const told: ServerInfo = {
    era,
    protocolVersion,
    capabilities: (capabilities ?? {}) as ServerCapabilities,
    serverInfo: serverInfo as Implementation | undefined,
    instructions: typeof instructions === 'string' ? instructions : undefined,
  };
  const bytes = jsonBytes(told);
  if (bytes <= MAX_INFO_BYTES) return told;
  const much = Number.isFinite(bytes) ? `in ${bytes} bytes, ${MAX_INFO_BYTES} allowed` : 'in too many levels';
  throw new ProtocolError(server, `it describes itself ${much}`);
}

/** Infinity where it is nested too deep to be written. */
function jsonBytes(value: object): number {
  try {
    return Buffer.byteLength(JSON.stringify(value));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
