import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { show } from '../../core/errors.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { Refusal } from './failure.js';

const names = (text: string, of: Era | 'both') =>
  text
    .trim()
    .split(/\s+/)
    .map((name) => [name, of] as const);

/** What clients ask by the protocol, and in which era. */
const METHODS: ReadonlyMap<string, Era | 'both'> = new Map([
  ...names(
    `tools/list tools/call prompts/list prompts/get resources/list resources/templates/list resources/read completion/complete
    tasks/list tasks/get tasks/result tasks/update tasks/cancel`,
    'both',
  ),
  ...names('initialize ping logging/setLevel resources/subscribe resources/unsubscribe', 'legacy'),
  ...names('server/discover subscriptions/listen', 'modern'),
]);
const NOTIFICATIONS = ['initialized', 'cancelled', 'progress', 'roots/list_changed'];

/** The letters and digits of a name, which is all that a lax server may look at. */
const bare = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '');

const BY_BARE: ReadonlyMap<string, string> = new Map(
  [...METHODS.keys(), ...NOTIFICATIONS.map((name) => `notifications/${name}`)].map((name) => [bare(name), name]),
);
const VISIBLE = /^[!-~]+$/;
/** A name that is longer is none of them. */
const MAX_BARE = 256;

/** Why a name that is none of the protocol's may be taken for one of them by a server; undefined where it cannot. */
function oddity(method: string): string | undefined {
  if (!VISIBLE.test(method)) return 'has other characters than the visible ones of ASCII';
  const meant = method.length > MAX_BARE ? undefined : BY_BARE.get(bare(method));
  return meant === undefined || meant === method ? undefined : `is ${meant} in other letters`;
}

/**
 * Rules, scopes and middleware go by the exact name of a method: what a server could take for another reaches none, nor does what the era of
 * its client does without.
 * @throws Refusal
 */
export function checkMethod(method: string, era: Era): void {
  const known = METHODS.get(method);
  if (known === era || known === 'both') return;
  if (known !== undefined) throw new Refusal(RPC_CODES.methodNotFound, `method not found: ${method}`);
  // A server that goes by the method alone would take its ids for those of other clients' calls.
  const why = /^notifications\//i.test(method) ? 'is a notification, which has no id' : oddity(method);
  if (why !== undefined) throw new Refusal(RPC_CODES.methodNotFound, `${show(method)} ${why}`);
}

/** Whether a message without an id is a notification: as a request it would go past all that looks at requests, to servers that may run it. */
export const isNotification = (method: string): boolean =>
  method.startsWith('notifications/') && oddity(method) === undefined;
