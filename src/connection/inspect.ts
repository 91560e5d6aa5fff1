import type { Connection } from './Connection.js';
import type { ChannelCounters } from './channel/Channel.js';

/** What a connection holds and has counted, fit for a debug endpoint. */
export interface ConnectionState {
  readonly server: string;
  readonly pid: number | undefined;
  readonly alive: boolean;
  /** Epoch ms. */
  readonly startedAt: number;
  readonly era: string;
  readonly protocolVersion: string;
  readonly inFlight: number;
  readonly unsentBytes: number;
  readonly counters: ChannelCounters;
}

export function inspectConnection(connection: Connection): ConnectionState {
  const { server, pid, alive, startedAt, info, inFlight, unsentBytes, counters } = connection;
  const { era, protocolVersion } = info;
  return {
    server,
    pid,
    alive,
    startedAt,
    era,
    protocolVersion,
    inFlight,
    unsentBytes,
    counters: { ...counters },
  };
}
