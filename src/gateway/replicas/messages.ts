import type { Params } from '../rpc/envelope.js';
import type { CancelledCall } from './ToldCancellations.js';

/** What replicas tell each other. */
export type ReplicaMessage =
  | { readonly type: 'changed'; readonly server: string; readonly principal: string | null; readonly method: string }
  | { readonly type: 'ended'; readonly key: string }
  | { readonly type: 'cancelled'; readonly calls: readonly CancelledCall[] }
  | {
      readonly type: 'answered';
      /** The replica that asked. */
      readonly to?: string;
      readonly key: string;
      readonly id: unknown;
      readonly result: unknown;
      readonly error: unknown;
    }
  | { readonly type: 'set'; readonly key: string; readonly name: string; readonly text?: string };

/** What must be text in each. */
const TEXTS: Readonly<Record<ReplicaMessage['type'], readonly string[]>> = {
  changed: ['server', 'method'],
  ended: ['key'],
  cancelled: [],
  answered: ['key'],
  set: ['key', 'name'],
};

/** How an answer begins: it may be large, and is parsed by that replica alone. */
const ANSWER_TO = /^\{"type":"answered","to":"([0-9a-f]{8})"/;
const BEGINNING = 64;

/** Undefined for what is none, as another version may say more, and for what is for another replica than `own`. */
export function readReplicaMessage(text: string, own: string): ReplicaMessage | undefined {
  if ((ANSWER_TO.exec(text.slice(0, BEGINNING))?.[1] ?? own) !== own) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const message = value as Readonly<Record<string, unknown>>;
  const { type, principal = null, text: set, calls } = message;
  if (typeof type !== 'string' || !Object.hasOwn(TEXTS, type)) return undefined;
  const texts = TEXTS[type as ReplicaMessage['type']].every((name) => typeof message[name] === 'string');
  const rest = [principal, set ?? null].every((each) => each === null || typeof each === 'string');
  if (type === 'cancelled' && !(Array.isArray(calls) && calls.every(isCall))) return undefined;
  return texts && rest ? (message as unknown as ReplicaMessage) : undefined;
}

const isCall = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && value.every((each) => typeof each === 'string');

const [LEVEL, URI] = ['level', 'uri '];

/** What a request sets, as a note; without a name it sets nothing that others could follow. */
export function noteOf(
  method: string,
  params: Params | undefined,
): readonly [name?: string, text?: string | undefined] {
  const { level, uri } = params ?? {};
  if (method === 'logging/setLevel' && typeof level === 'string') return [LEVEL, level];
  if (method === 'resources/subscribe' && typeof uri === 'string') return [`${URI}${uri}`, '1'];
  if (method === 'resources/unsubscribe' && typeof uri === 'string') return [`${URI}${uri}`];
  return [];
}

/** The request that sets what a note says. */
export function requestOf(name: string, text: string | undefined): readonly [string, Params] | undefined {
  if (name === LEVEL && text !== undefined) return ['logging/setLevel', { level: text }];
  if (!name.startsWith(URI)) return undefined;
  const uri = name.slice(URI.length);
  return [text === undefined ? 'resources/unsubscribe' : 'resources/subscribe', { uri }];
}
