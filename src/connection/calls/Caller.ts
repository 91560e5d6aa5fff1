import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/client';
import { keyText } from '../../core/text/ownText.js';
import type { Era } from '../../registry/config/ServerConfig.js';

/** Who asks. It is also what keeps users apart. */
export interface Caller {
  /** Hash of issuer, subject, client and scopes. Connections are never shared across principals. */
  readonly principal?: string;
  /**
   * The person, or program, behind the principal, where one has several: as a token of each client, or with each scope, is one. What is
   * bounded has shares by it. No part of what keeps connections apart. @defaultValue the principal
   */
  readonly subject?: string;
  /**
   * Where it asks from, for one without a principal: connections of its own (by its capabilities) count to that share, within which
   * they give way to each other (not on `bound` servers), and so does what leads its calls back to one of several targets. Those that wait for
   * a slot take turns by it. No part of what keeps connections apart. What follows a space names a part of it, whose failures are those of the whole. @defaultValue none
   */
  readonly origin?: string;
  /** `bound` mode: the downstream session that owns the connection. */
  readonly key?: string;
  /** What this caller can do for the server. Part of what keeps connections apart. */
  readonly capabilities?: ClientCapabilities;
  readonly clientInfo?: Implementation;
  /** Legacy: the version asked for where the connection is this caller's alone. */
  readonly protocolVersion?: string;
  /** The era its client speaks: a server that speaks both, and whose config names none, is spoken to in that one. */
  readonly era?: Era;
  /** Rather `OptionError` (`caller.era`) than a process of a stdio server that turns out to speak the other era alone. @defaultValue false */
  readonly eraOnly?: boolean;
  /** Its connection to a `bound` server does not end for idling, but by `releaseKey`. @defaultValue false */
  readonly keepAlive?: boolean;
  /** For the credentials hook alone; never in keys or logs. */
  readonly context?: unknown;
}

/** Whose failures and answers a caller's are, where servers are judged by them; undefined: of no one in particular. */
export function callerName({ principal, subject = principal, origin }: Caller = {}): string | undefined {
  if (subject !== undefined) return keyText(subject);
  const end = origin?.indexOf(' ') ?? -1;
  return origin === undefined ? undefined : keyText(end < 0 ? origin : origin.slice(0, end));
}
