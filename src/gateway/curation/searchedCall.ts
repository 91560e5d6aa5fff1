import { membersOf, memberText, withMembers, withTheseMembers } from '../../connection/channel/codec/members.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { GivenParams } from '../bridge/paramsFor.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { setText, withChanges } from '../rpc/light.js';
import { isSearchTool } from './ToolSearch.js';

const MAX_SAID_CHARS = 64 * 1_024;

/** The call that is inside a call of `call_tool`, its arguments as they were written: long ones are not parsed for it. @throws Refusal */
export function innerCall({ params, paramsText }: GivenParams): GivenParams {
  const outer = written(paramsText);
  const members = outer?.given === undefined ? undefined : membersOf(outer.given);
  // Without text, as where a name comes twice, the call is written anew, with what was read here.
  if (outer?.given === undefined || members === undefined) {
    const { name, arguments: own } = argumentsOf(params?.['arguments']);
    const inner = typeof own === 'string' ? JSON.parse(objectSaid(own) ?? 'false') : own;
    return { params: { ...params, name: checkedName(name), arguments: argumentsOf(inner) }, paramsText: undefined };
  }
  const name = checkedName(JSON.parse(memberText(outer.given, members, 'name') ?? 'null'));
  const given = memberText(outer.given, members, 'arguments');
  const own = given?.startsWith('"') === true ? objectSaid(JSON.parse(given)) : objectText(given);
  if (own === undefined) throw NO_OBJECT();
  const inner = withChanges(params, { name, arguments: undefined });
  setText(inner, 'arguments', own);
  return { params: inner, paramsText: outer.with({ name: JSON.stringify(name), arguments: own }) };
}

/** Models write the arguments of the call inside as text, too: that text, if it is an object's. */
function objectSaid(text: string): string | undefined {
  if (text.length > MAX_SAID_CHARS) return undefined;
  try {
    return isObject(JSON.parse(text)) ? text : undefined;
  } catch {
    return undefined;
  }
}

function checkedName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw new Refusal(RPC_CODES.invalidParams, 'name is the name of a tool, as search_tools told it');
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
  throw NO_OBJECT();
}

const NO_OBJECT = (): Refusal => new Refusal(RPC_CODES.invalidParams, 'arguments is an object');

/** A call with arguments that the config adds; what the client wrote stays as it was written. */
export function withFixed({ params, paramsText }: GivenParams, fixed: Params): GivenParams {
  const outer = written(paramsText);
  const texts = Object.fromEntries(Object.entries(fixed).map(([name, value]) => [name, JSON.stringify(value)]));
  const given = objectText(outer?.given);
  const own = given === undefined ? undefined : withMembers(given, texts);
  if (outer === undefined || own === undefined) {
    const all = { ...params, arguments: { ...argumentsOf(params?.['arguments']), ...fixed } };
    return { params: all, paramsText: undefined };
  }
  const all = withChanges(params, { arguments: undefined });
  setText(all, 'arguments', own);
  return { params: all, paramsText: outer.with({ arguments: own }) };
}

/** What params have under `arguments`, as text, and themselves with others; undefined where they are to be written anew. */
function written(text: string | undefined) {
  const members = text === undefined ? undefined : membersOf(text);
  if (text === undefined || members === undefined) return undefined;
  return {
    given: memberText(text, members, 'arguments'),
    with: (values: Readonly<Record<string, string>>) => withTheseMembers(text, members, values),
  };
}

/** Arguments as text, which may be left out; undefined for what is no object. */
const objectText = (text = 'null'): string | undefined =>
  text === 'null' ? '{}' : text.startsWith('{') ? text : undefined;
