import {
  ForbiddenError,
  messageOf,
  OutcomeUnknownError,
  ProtocolError,
  RequestTimeoutError,
  RpcError,
  UpstreamBusyError,
} from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { ServerInfo } from './messages.js';
import { RPC_CODES } from './rpcCodes.js';
import { modernVersionOffered } from './versions.js';

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
  /** Of a server that is known to be modern. */
  modern(version: string | undefined): Promise<ServerInfo>;
  /**
   * Undefined when the answer is none of the modern era. `limitMs`: the longest time to wait for one; without it as long as the
   * start may take.
   */
  maybeModern(version: string | undefined, limitMs?: number): Promise<ServerInfo | undefined>;
  legacy(): Promise<ServerInfo>;
  /** The status of the last handshake's response; 0 when there was none. */
  status(): number;
}

export interface EraContext {
  readonly server: string;
  readonly logger: Logger;
  readonly memory: EraMemory | undefined;
  /** Longest start, in ms. */
  readonly startTimeoutMs: number;
  wallNow(): number;
}

/** After this long a server that was legacy may have learnt more. */
const LEGACY_FOR_MS = 24 * 60 * 60 * 1_000;
/** Of the start's time, how much `server/discover` may stay unanswered before `initialize` is tried. */
const SILENCE_RATIO = 1 / 3;
const MAX_SILENCE_MS = 5_000;
/** Errors that only the modern era has: HeaderMismatch and MissingRequiredClientCapability. */
const MODERN_ERRORS: readonly number[] = [RPC_CODES.headerMismatch, RPC_CODES.missingClientCapability];
/** What says nothing about an era. */
const NO_EVIDENCE: readonly number[] = [401, 403, 408, 429];

/**
 * Makes the handshake, in place. `auto` asks as the modern era does (`server/discover`) and falls back to `initialize`
 * on evidence: a 4xx other than 401, 403, 408 and 429, or, in a 200, a JSON-RPC error or a result that names no modern
 * version in `supportedVersions`. A -32022 that names a modern version is tried again at that version; bodies with -32020
 * or -32021 are modern. Any other answer than a 401 or a 429 proves nothing, nor does a socket that was closed, nor
 * silence for a part of the start's time; but many servers do that where they do not know a method. So `initialize` is
 * tried, what it fails with is told, and nothing is remembered. `legacy-first` is
 * for a client of that era: what speaks both is spoken to in it, and nothing is remembered, since it proves nothing.
 */
export async function negotiate(
  era: Era | 'auto' | 'legacy-first',
  steps: EraSteps,
  context: EraContext,
): Promise<ServerInfo> {
  if (era === 'legacy') return steps.legacy();
  if (era === 'modern') return offeredBy(steps.modern(undefined), steps);
  if (era === 'legacy-first') return askLegacyFirst(steps);
  const known = await recall(context);
  if (known?.era === 'legacy' && context.wallNow() - known.at < LEGACY_FOR_MS) {
    try {
      return await steps.legacy();
    } catch (error) {
      if (!speaksOther(error, steps.status())) throw error;
    }
  }
  let info: ServerInfo | undefined;
  try {
    info = await (known?.era === 'modern'
      ? askModern(steps, known.version)
      : askModern(steps, undefined, Math.min(context.startTimeoutMs * SILENCE_RATIO, MAX_SILENCE_MS)));
  } catch (error) {
    if (!speaksOther(error, steps.status())) {
      if (!provesNothing(error)) throw error;
      return askBoth(steps, context, error);
    }
  }
  info ??= await steps.legacy();
  await remember(context, info);
  return info;
}

async function askLegacyFirst(steps: EraSteps): Promise<ServerInfo> {
  try {
    return await steps.legacy();
  } catch (error) {
    if (!speaksOther(error, steps.status())) throw error;
    return understood(await askModern(steps, undefined), error);
  }
}

/** What `server/discover` failed with proves no era: asks as the legacy era does, and remembers nothing. */
async function askBoth(steps: EraSteps, { server }: EraContext, failure: unknown): Promise<ServerInfo> {
  try {
    return await steps.legacy();
  } catch (error) {
    // It is there, and knows no `initialize`: it was only slow, or busy.
    if (speaksOther(error, steps.status())) return understood(await askModern(steps, undefined), error);
    if (!(error instanceof RequestTimeoutError && failure instanceof RequestTimeoutError)) throw error;
    const why = `it answered neither server/discover (${failure.timeoutMs} ms) nor initialize (${error.timeoutMs} ms)`;
    throw new ProtocolError(server, why, error);
  }
}

/** A server that refused `initialize` and does not understand `server/discover` either failed by that refusal. */
function understood(info: ServerInfo | undefined, refusal: unknown): ServerInfo {
  if (info === undefined) throw refusal;
  return info;
}

function askModern(steps: EraSteps, version: string | undefined, limitMs?: number): Promise<ServerInfo | undefined> {
  return offeredBy(steps.maybeModern(version, limitMs), steps);
}

/** A -32022 that names a version of the modern era is the word of a modern server. */
async function offeredBy<T>(asked: Promise<T>, steps: EraSteps): Promise<T | ServerInfo> {
  try {
    return await asked;
  } catch (error) {
    const offered = modernVersionOffered(error);
    if (offered === undefined) throw error;
    return steps.modern(offered);
  }
}

/** What a server fails with that was reached. Neither its refusal of credentials nor what says that it is asked too often. */
const REACHED = [ForbiddenError, OutcomeUnknownError, ProtocolError, RequestTimeoutError, RpcError, UpstreamBusyError];

/** Whether this failure of `server/discover` may be all that the server says of a method that it does not know. */
function provesNothing(error: unknown): boolean {
  if (error instanceof RpcError && MODERN_ERRORS.includes(error.rpcCode)) return false;
  return REACHED.some((each) => error instanceof each);
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
