import { membersOf, memberText, withMembers } from '../../connection/channel/codec/members.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { GivenParams } from '../bridge/paramsFor.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { isSearchTool } from './ToolSearch.js';

/** The call that is inside a call of `call_tool`, its arguments as they were written. @throws Refusal */
export function innerCall({ params, paramsText }: GivenParams): GivenParams {
  const { name, arguments: own } = argumentsOf(params?.['arguments']);
  if (typeof name !== 'string')
    throw new Refusal(RPC_CODES.invalidParams, 'name is the name of a tool, as search_tools told it');
  const inner = { ...params, name, arguments: argumentsOf(own) };
  const given = textIn(paramsText, 'arguments');
  const members = given === undefined ? undefined : membersOf(given);
  // Without text, as where a name comes twice, the call is written anew, with what was read here.
  const text =
    given === undefined || members === undefined || paramsText === undefined
      ? undefined
      : withMembers(paramsText, {
          name: JSON.stringify(name),
          arguments: isObject(own) ? memberText(given, members, 'arguments') : '{}',
        });
  return { params: inner, paramsText: text };
}

/** What a call is once it is taken for the one inside, as `call_tool` makes it; any other as it is. @throws Refusal */
export function calledTool(method: string, given: GivenParams): GivenParams {
  if (method !== 'tools/call' || given.params?.['name'] !== 'call_tool') return given;
  const inner = innerCall(given);
  const name = inner.params?.['name'];
  // Once is enough: the next would be seen by no one.
  if (isSearchTool(name)) throw new Refusal(RPC_CODES.invalidParams, `unknown tool: ${name}`);
  return inner;
}

/** The arguments of a call, which may be left out. @throws Refusal for what is no object */
export function argumentsOf(given: unknown): Params {
  if (given === undefined || given === null) return {};
  if (isObject(given)) return given;
  throw new Refusal(RPC_CODES.invalidParams, 'arguments is an object');
}

/** A call with arguments that the config adds; what the client wrote stays as it was written. */
export function withFixed({ params, paramsText }: GivenParams, fixed: Params): GivenParams {
  const all = { ...params, arguments: { ...argumentsOf(params?.['arguments']), ...fixed } };
  if (paramsText === undefined) return { params: all, paramsText };
  const texts = Object.fromEntries(Object.entries(fixed).map(([name, value]) => [name, JSON.stringify(value)]));
  const given = textIn(paramsText, 'arguments');
  const own = withMembers(given?.startsWith('{') === true ? given : '{}', texts);
  const text = own === undefined ? undefined : withMembers(paramsText, { arguments: own });
  return { params: all, paramsText: text };
}

function textIn(text: string | undefined, member: string): string | undefined {
  const members = text === undefined ? undefined : membersOf(text);
  return members === undefined ? undefined : memberText(text ?? '', members, member);
}
