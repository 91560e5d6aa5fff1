import { exactText } from '../../connection/channel/codec/exactText.js';
import { membersOf, memberText, withMembers, withTheseMembers } from '../../connection/channel/codec/members.js';
import { FREE_BYTES } from '../../connection/channel/codec/parsingCost.js';
import {
  META_CLIENT_CAPABILITIES,
  META_CLIENT_INFO,
  META_LOG_LEVEL,
  META_PROTOCOL_VERSION,
} from '../../connection/protocol/metaKeys.js';
import { objectOf } from '../../connection/protocol/objectOf.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import type { Params } from '../rpc/envelope.js';
import { withChanges } from '../rpc/light.js';

/** Params in both their forms: what they say, and as text. */
export interface GivenParams {
  readonly params: Params | undefined;
  readonly paramsText: string | undefined;
}

/** Values to put into params, and into their `_meta`; undefined takes one out. */
export interface Changes {
  readonly params?: Params;
  readonly meta?: Params;
}

/** What the modern era has in params that a legacy server does not know. */
export const WITHOUT_ENVELOPE: Changes = Object.freeze({
  params: { inputResponses: undefined, requestState: undefined },
  meta: {
    [META_PROTOCOL_VERSION]: undefined,
    [META_CLIENT_INFO]: undefined,
    [META_CLIENT_CAPABILITIES]: undefined,
    [META_LOG_LEVEL]: undefined,
  },
});

/**
 * The params with those changes; all the rest stays as it came, in text too. Long ones are changed in turns of the event loop, since
 * calls wait for one event: a start, a list, a reload.
 */
export function changed(
  params: Params | undefined,
  { paramsText }: Pick<CallOptions, 'paramsText'>,
  changes: Changes,
): GivenParams | Promise<GivenParams> {
  if (paramsText === undefined || paramsText.length < FREE_BYTES) return changedNow(params, paramsText, changes);
  return inTurnOrNow(() => changedNow(params, paramsText, changes));
}

function changedNow(
  params: Params | undefined,
  paramsText: string | undefined,
  { params: own = {}, meta = {} }: Changes,
): GivenParams {
  const merged = withChanges(objectOf(params?.['_meta']), meta);
  const whole = withChanges(params, { _meta: Object.keys(merged).length === 0 ? undefined : merged, ...own });
  return { params: whole, paramsText: paramsText === undefined ? undefined : changedText(paramsText, own, meta) };
}

function changedText(paramsText: string, own: Params, meta: Params): string | undefined {
  const members = membersOf(paramsText);
  if (members === undefined) return undefined;
  const given = memberText(paramsText, members, '_meta');
  const merged = withMembers(given?.startsWith('{') === true ? given : '{}', texts(meta));
  // A name that comes twice in it: the params are written anew.
  if (merged === undefined) return undefined;
  return withTheseMembers(paramsText, members, { _meta: merged === '{}' ? undefined : merged, ...texts(own) });
}

const texts = (values: Params): Record<string, string | undefined> =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, value === undefined ? undefined : exactText(value)]),
  );
