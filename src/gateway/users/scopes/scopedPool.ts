import { repeatsName } from '../../../connection/channel/codec/members.js';
import { listInTurns, relisted } from '../../../connection/channel/large/parsedInTurns.js';
import type { ResultSink } from '../../../connection/channel/large/ResultSink.js';
import { inReadingTurn } from '../../../connection/channel/large/readingTurns.js';
import { objectOf } from '../../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { ProtocolError, RpcError } from '../../../core/errors.js';
import { utf8Text } from '../../../core/text/utf8Text.js';
import { pickedInSlices } from '../../../core/time/inSlices.js';
import { inTurnOrNow } from '../../../core/time/turns.js';
import type { RequestOptions } from '../../../pool/McpPool.js';
import type { GatewayPool } from '../../GatewayOptions.js';
import type { Params } from '../../rpc/envelope.js';
import { asPrivate, asPrivateInPieces } from './asPrivate.js';
import type { Access } from './ScopeRules.js';

/**
 * The pool as a user may use it: the one way from any front to any server, so that there is no path that could be forgotten. Servers that are
 * not opened are not listed; what is asked of them, and tools that are not opened, is refused with the scope that would do. What a server lets
 * all have is told as the user's alone: others may not have it.
 */
export function scopedPool(pool: GatewayPool, access: Access): GatewayPool {
  const own: Partial<GatewayPool> = {
    servers: () => pool.servers().filter((server) => access.opens(server)),
    request: async (server: string, method: string, params?: Params, options?: RequestOptions): Promise<never> => {
      const name = params?.['name'];
      const isTool = method === 'tools/call';
      // A lax server makes a string of it.
      if (isTool && typeof name !== 'string') throw new RpcError(server, RPC_CODES.invalidParams, 'name is a string');
      access.check(server, isTool ? (name as string) : undefined);
      const given = options?.onLarge;
      // A list is looked through; what comes in pieces otherwise is said to be this user's alone on its way.
      const inPieces = (onRoom: () => void): ResultSink | undefined => {
        const sink = given?.(onRoom);
        return sink && asPrivateInPieces(sink);
      };
      const onLarge = method === 'tools/list' ? undefined : method === 'tools/call' ? given : inPieces;
      const own = given === undefined ? options : { ...options, onLarge };
      const result: unknown = await pool.request(server, method, params, own);
      if (method === 'tools/call') return result as never;
      return asPrivate(
        method === 'tools/list' ? await shown(server, result, access, options?.caller) : result,
      ) as never;
    },
    notify: async (server, ...rest) => {
      access.check(server);
      return pool.notify(server, ...rest);
    },
    listAll: async (server, ...rest) => {
      access.check(server);
      const list = await pool.listAll(server, ...rest);
      return list.cacheScope === 'public' ? { ...list, cacheScope: 'private' } : list;
    },
    subscribe: async (server, ...rest) => {
      access.check(server);
      return pool.subscribe(server, ...rest);
    },
    lease: async (server, ...rest) => {
      access.check(server);
      return pool.lease(server, ...rest);
    },
  };
  return new Proxy(pool, {
    get: (target, key) => {
      const value: unknown = Reflect.get(Object.hasOwn(own, key) ? own : target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

/**
 * A page of tools, as bytes or as a value, less those that are not opened; as it came when all are. Of a member that comes twice readers take
 * the one or the other: what was looked at is what goes on.
 */
const shown = (server: string, result: unknown, access: Access, caller: RequestOptions['caller']): Promise<unknown> =>
  inReadingTurn(server, caller, result, () => shownOf(server, result, access));

async function shownOf(server: string, result: unknown, access: Access): Promise<unknown> {
  // One whose name is no text cannot be called.
  const isOpen = (tool: unknown): boolean => {
    const name = (tool as { readonly name?: unknown } | null)?.name;
    return typeof name === 'string' && access.shows(server, name);
  };
  if (!(result instanceof Uint8Array)) {
    const { tools } = objectOf(result);
    if (!Array.isArray(tools)) return result;
    const open = await pickedInSlices(tools, (tool: unknown) => (isOpen(tool) ? tool : undefined));
    return open.length === tools.length ? result : { ...(result as object), tools: open };
  }
  const list = await listInTurns(server, result, 'tools');
  if (list === undefined) throw new ProtocolError(server, 'its list has no tools');
  const { items, texts, outside } = list;
  let same = !repeatsName(outside.toString());
  let at = 0;
  const open = await pickedInSlices(items, (tool) => {
    const text = utf8Text(texts[at++] as Buffer);
    const anew = repeatsName(text);
    if (isOpen(tool) && !anew) return text;
    same = false;
    return isOpen(tool) ? JSON.stringify(tool) : undefined;
  });
  return same ? result : inTurnOrNow(() => relisted(list, 'tools', open));
}
