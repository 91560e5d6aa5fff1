import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { GatewayOptions, GatewaySettings } from '../GatewayOptions.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { NoticeFrames } from '../http/stream/Frame.js';
import { selfOf } from '../replicas/joinReplicas.js';
import type { ReplicaLink } from '../replicas/ReplicaLink.js';
import { SubscriptionRoom } from '../session/SessionSubscriptions.js';
import { SessionTable, type SessionTableOptions } from '../session/SessionTable.js';
import { SessionTickets } from './SessionTickets.js';

export interface SessionParts extends Pick<SessionTableOptions, 'onEnd'> {
  readonly held: HeldBytes;
  readonly link: ReplicaLink | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** The sessions of a gateway, and what their ids are made by. @throws OptionError */
export function makeSessions(
  { eventStore, sessionKeys }: Pick<GatewayOptions, 'eventStore' | 'sessionKeys'>,
  settings: GatewaySettings,
  { clock, link, ...parts }: SessionParts,
): SessionTable {
  const tickets = new SessionTickets({ sessionKeys, sessionLifeMs: settings.sessionLifeMs, clock });
  const subscriptionRoom = new SubscriptionRoom(settings.maxBufferedBytes / 2);
  const made = { tickets, eventStore, frames: new NoticeFrames(), subscriptionRoom, ...selfOf(link) };
  return new SessionTable({ ...settings, ...parts, ...made }, clock);
}
