import { messageOf, RpcError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { modernVersionOffered } from './handshake.js';
import type { ServerInfo } from './messages.js';

/** Which era a server was found to speak, and when. */
export interface EraFinding {
  readonly era: Era;
  readonly version?: string;
  /** Epoch ms. */
  readonly at: number;
}

/** Where the finding for one server is kept. What fails there is logged and asked anew. */
export interface EraMemory {
  get(): Promise<EraFinding | undefined>;
  set(finding: EraFinding): Promise<void>;
}

/** What a connection can do to find out. Each makes the whole handshake of its era. */
export interface EraSteps {
  modern(version: string | undefined): Promise<ServerInfo>;
  legacy(): Promise<ServerInfo>;
  /** The status of the last handshake's response; 0 when there was none. */
  status(): number;
}

export interface EraContext {
  readonly server: string;
  readonly logger: Logger;
  readonly memory: EraMemory | undefined;
  wallNow(): number;
}

/** After this long a server that was legacy may have learnt more. */
const LEGACY_FOR_MS = 24 * 60 * 60 * 1_000;
/** Errors that only the modern era has: HeaderMismatch and MissingRequiredClientCapability. */
const MODERN_ERRORS: readonly number[] = [-32020, -32021];
/** What says nothing about an era. */
const NO_EVIDENCE: readonly number[] = [401, 403, 408, 429];

/**
 * Makes the handshake, in place. `auto` asks as the modern era does (`server/discover`) and falls back to `initialize`
 * only on evidence: a 4xx other than 401, 403, 408 and 429, or a JSON-RPC error in a 200. A -32022 that names a modern
 * version is tried again at that version; bodies with -32020 or -32021 are modern. A refused connection, a 5xx, a
 * timeout prove nothing: they are thrown, and nothing is remembered.
 */
export async function negotiate(era: Era | 'auto', steps: EraSteps, context: EraContext): Promise<ServerInfo> {
  if (era === 'legacy') return steps.legacy();
  if (era === 'modern') return askModern(steps, undefined);
  const known = await recall(context);
  if (known?.era === 'legacy' && context.wallNow() - known.at < LEGACY_FOR_MS) {
    try {
      return await steps.legacy();
    } catch (error) {
      if (!speaksOther(error, steps.status())) throw error;
    }
  }
  let info: ServerInfo;
  try {
    info = await askModern(steps, known?.era === 'modern' ? known.version : undefined);
  } catch (error) {
    if (!speaksOther(error, steps.status())) throw error;
    info = await steps.legacy();
  }
  await remember(context, info);
  return info;
}

async function askModern(steps: EraSteps, version: string | undefined): Promise<ServerInfo> {
  try {
    return await steps.modern(version);
  } catch (error) {
    const offered = modernVersionOffered(error);
    if (offered === undefined) throw error;
    return steps.modern(offered);
  }
}

/** Whether this failure shows that the server does not speak the era it was asked in. */
function speaksOther(error: unknown, status: number): boolean {
  if (error instanceof RpcError && MODERN_ERRORS.includes(error.rpcCode)) return false;
  if (status >= 400 && status < 500) return !NO_EVIDENCE.includes(status);
  return status >= 200 && status < 300 && error instanceof RpcError;
}

async function recall({ server, logger, memory }: EraContext): Promise<EraFinding | undefined> {
  try {
    return await memory?.get();
  } catch (error) {
    logger.warn({ server, error: messageOf(error) }, 'the era of a server could not be read');
    return undefined;
  }
}

async function remember({ server, logger, memory, wallNow }: EraContext, info: ServerInfo): Promise<void> {
  try {
    const { era, protocolVersion } = info;
    await memory?.set(era === 'modern' ? { era, version: protocolVersion, at: wallNow() } : { era, at: wallNow() });
  } catch (error) {
    logger.warn({ server, error: messageOf(error) }, 'the era of a server could not be kept');
  }
}
