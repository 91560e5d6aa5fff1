import { createHash } from 'node:crypto';
import type { ClientCapabilities } from '@modelcontextprotocol/client';
import { UNNAMED } from '../../../concurrent/ConnectionLimit.js';
import { OptionError } from '../../../core/errors.js';
import type { Era, Sharing } from '../../../registry/config/ServerConfig.js';
import type { Caller } from '../../McpPool.js';

const profiles = new WeakMap<object, string>();

/** A short name for a set of capabilities, the same for equal ones. */
function capabilityProfile(capabilities: ClientCapabilities): string {
  let profile = profiles.get(capabilities);
  if (profile === undefined) {
    profile = createHash('sha256')
      .update(JSON.stringify(sorted(capabilities)))
      .digest('base64url')
      .slice(0, 16);
    profiles.set(capabilities, profile);
  }
  return profile;
}

/**
 * What keeps connections apart: callers with the same key may share one. Principal, session key and capability profile
 * are never mixed up, whatever characters they hold.
 */
export function callerKey(caller: Caller | undefined, options: CallerRules): string {
  if (caller === undefined) return '';
  const { sharing, clientCapabilities } = options;
  const { principal = '', key = '', capabilities } = caller;
  const session = sharing === 'bound' ? key : '';
  let profile = '';
  if (capabilities !== undefined) {
    profile = capabilityProfile(capabilities);
    // Who says what the server's settings say anyway is like one who says nothing.
    if (profile === capabilityProfile(clientCapabilities)) profile = '';
  }
  const era = eraFor(caller, options);
  if (principal === '' && session === '' && profile === '' && era === undefined) return '';
  if (era === undefined) return JSON.stringify([principal, session, profile]);
  return JSON.stringify([principal, session, profile, era, ...(caller.eraOnly === true ? ['only'] : [])]);
}

/** Who has a connection started: a user, or an address; undefined for the program itself. */
export function starterOf({ principal, subject = principal, origin }: Caller = {}): string | undefined {
  if (subject !== undefined && subject !== '') return `=${subject}`;
  return origin === undefined ? undefined : `${UNNAMED}${origin}`;
}

/** Whose share of the connections one that is started for a caller counts to. Those of a `bound` server end with their sessions alone. */
export function shareOf(caller: Caller = {}, sharing: Sharing): string {
  // One of no principal that is started for what it can do, and not for all alike.
  const own = !!caller.principal || (caller.capabilities !== undefined && sharing !== 'bound');
  return (own && starterOf(caller)) || '';
}

/** What of a server's options tells its callers apart. */
export interface CallerRules {
  readonly sharing: Sharing;
  readonly clientCapabilities: ClientCapabilities;
  /** Era that is spoken without a caller's wish. */
  readonly era?: Era | 'auto';
  /** Whether the config leaves the era to the callers. */
  readonly eraFollows?: boolean;
}

/**
 * The era a caller asks for where that is another than it gets anyway: legacy of a server that is asked for the modern one
 * first, modern of one that is taken for legacy.
 */
export function eraFor(caller: Caller | undefined, { era, eraFollows = false }: CallerRules): Era | undefined {
  if (!eraFollows || caller?.era === undefined) return undefined;
  return caller.era === (era === 'legacy' ? 'legacy' : 'modern') ? undefined : caller.era;
}

/** Whether an error says that a server does not speak the only era that its caller takes: an answer, and no failure of either. */
export function isEraRefusal(error: unknown): boolean {
  return error instanceof OptionError && error.option === 'caller.era';
}

/** What a sharing mode asks of a caller. `attributes`: whether the wire tells which call a server's request belongs to. */
export function checkCaller(server: string, caller: Caller | undefined, sharing: Sharing, attributes: boolean): void {
  if (sharing === 'bound' && (caller?.key === undefined || caller.key === '')) {
    throw new OptionError('caller.key', caller?.key, `the session's key: server '${server}' has sharing 'bound'`);
  }
  if (sharing === 'shared' && !attributes && isSome(caller?.capabilities)) {
    throw new OptionError(
      'caller.capabilities',
      caller?.capabilities,
      `none: server '${server}' is shared over a wire that cannot tell whose request comes back; ` +
        `set sharing: 'leased' or 'bound' for it`,
    );
  }
}

export function isSome(capabilities: ClientCapabilities | undefined): boolean {
  return capabilities !== undefined && Object.keys(capabilities).length > 0;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  );
}
