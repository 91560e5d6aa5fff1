import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { capabilitiesProblem, type RequestMessage } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import type { Session } from '../session/Session.js';
import type { SessionTable } from '../session/SessionTable.js';
import type { SseClient } from './SseClient.js';

/** What a client speaks that does not say so: the version that the transport is of. */
const SILENT_VERSION = '2024-11-05';

export interface Opened {
  readonly session: Session;
  /** What the client is answered, as JSON in parts; undefined where its request is not the one that opens. */
  readonly result: readonly Buffer[] | undefined;
}

/** The session of a client, which its first request opens. @throws Refusal, QueueFullError and whatever its server failed by */
export async function openedBy(
  { method, params }: RequestMessage,
  { endpoint, address, gone }: SseClient,
  sessions: SessionTable,
): Promise<Opened> {
  if (method !== 'initialize') {
    return {
      session: sessions.open(endpoint, { protocolVersion: SILENT_VERSION, address, stays: true }),
      result: undefined,
    };
  }
  const problem = capabilitiesProblem(params);
  if (problem !== undefined) throw new Refusal(RPC_CODES.invalidParams, problem);
  const opened: { session: Session | undefined } = { session: undefined };
  try {
    const result = await sessions.initialize(endpoint, params, { address, stays: true }, opened, gone.signal);
    return { session: opened.session as Session, result };
  } catch (error) {
    if (opened.session !== undefined) await sessions.end(opened.session);
    throw error;
  }
}
