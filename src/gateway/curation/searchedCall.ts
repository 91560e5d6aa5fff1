import { membersOf, memberText, withMembers } from '../../connection/channel/codec/members.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { GivenParams } from '../bridge/paramsFor.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';

/** The call that is inside a call of `call_tool`, its arguments as they were written. @throws Refusal */
export function innerCall({ params, paramsText }: GivenParams): GivenParams {
  const { name, arguments: own } = (params?.['arguments'] ?? {}) as Params;
  if (typeof name !== 'string')
    throw new Refusal(RPC_CODES.invalidParams, 'name is the name of a tool, as search_tools told it');
  if (own !== undefined && (typeof own !== 'object' || own === null || Array.isArray(own))) {
    throw new Refusal(RPC_CODES.invalidParams, 'arguments is an object');
  }
  const inner = { ...params, name, arguments: own ?? {} };
  const given = textIn(paramsText, 'arguments');
  const text =
    given === undefined || paramsText === undefined
      ? undefined
      : withMembers(paramsText, { name: JSON.stringify(name), arguments: textIn(given, 'arguments') ?? '{}' });
  return { params: inner, ...(text === undefined ? {} : { paramsText: text }) };
}

/** A call with arguments that the config adds; what the client wrote stays as it was written. */
export function withFixed({ params, paramsText }: GivenParams, fixed: Params | undefined): GivenParams {
  if (fixed === undefined) return { params, ...(paramsText === undefined ? {} : { paramsText }) };
  const all = { ...params, arguments: { ...(params?.['arguments'] as Params | undefined), ...fixed } };
  if (paramsText === undefined) return { params: all };
  const texts = Object.fromEntries(Object.entries(fixed).map(([name, value]) => [name, JSON.stringify(value)]));
  const own = withMembers(textIn(paramsText, 'arguments') ?? '{}', texts);
  const text = own === undefined ? undefined : withMembers(paramsText, { arguments: own });
  return { params: all, ...(text === undefined ? {} : { paramsText: text }) };
}

function textIn(text: string | undefined, member: string): string | undefined {
  const members = text === undefined ? undefined : membersOf(text);
  return members === undefined ? undefined : memberText(text ?? '', members, member);
}
