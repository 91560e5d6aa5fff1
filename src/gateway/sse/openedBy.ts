import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { initialised } from '../endpoint/discovered.js';
import {
  capabilitiesOf,
  capabilitiesProblem,
  clientInfoOf,
  PROTOCOL_VERSIONS,
  type RequestMessage,
} from '../rpc/envelope.js';
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
  { endpoint, address }: SseClient,
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
  const asked = params?.['protocolVersion'];
  const protocolVersion = PROTOCOL_VERSIONS.find((each) => each === asked) ?? (PROTOCOL_VERSIONS[0] as string);
  const session = sessions.open(endpoint, {
    protocolVersion,
    capabilities: capabilitiesOf(params),
    clientInfo: clientInfoOf(params?.['clientInfo']),
    address,
    stays: true,
  });
  try {
    return { session, result: await initialised(protocolVersion, await sessions.infoOf(session, session.signal)) };
  } catch (error) {
    await sessions.end(session);
    throw error;
  }
}
