import { createHash } from 'node:crypto';
import { SharedTable } from '../concurrent/SharedTable.js';
import type { Caller } from '../connection/calls/Caller.js';
import { spliced } from '../connection/calls/spliced.js';
import { type Member, membersOf, memberText } from '../connection/channel/codec/members.js';
import { checkReadable, MAX_READ_BYTES, parsedAnswer } from '../connection/channel/codec/parsingCost.js';
import { madeTask } from '../connection/protocol/madeTask.js';
import type { Params } from '../connection/protocol/messages.js';
import { utf8Text } from '../core/text/utf8Text.js';
import { inSlices } from '../core/time/inSlices.js';
import { type WaitBounds, within } from '../core/time/within.js';
import type { Target } from './Target.js';

/** Cursors, tasks and states of requests remembered for each server; the caller that has most loses those it used longest ago. */
export const MAX_TOKENS = 10_000;
/** Sessions of a `bound` server remembered; the caller that has most loses those it used longest ago beyond. */
export const MAX_STICKY_SESSIONS = 100_000;

/** A task's id that more than one target gave: whose task is meant cannot be known. */
export const SEVERAL = Symbol('several targets');

/** The owner of what more than one caller was given. */
const COMMON = '';

/** What a call names of an earlier answer. */
const KINDS = ['cursor', 'taskId', 'requestState'] as const;
type Kind = (typeof KINDS)[number];
type Token = readonly [kind: Kind, token: string];

const CURSOR = Buffer.from('"nextCursor"');
const STATE = Buffer.from('"requestState"');
const TASK = Buffer.from('"taskId"');

interface Session<S> {
  readonly target: Target<S>;
  /** Its server has had a connection for it: what it keeps there would be lost elsewhere. */
  established: boolean;
}

/**
 * What binds a call to the target that an earlier one went to: the session of a `bound` server; the cursor of a list, a task, or
 * the state of a request that asked for input, which mean nothing to another server.
 */
export class Stickiness<S> {
  readonly #sessions = new SharedTable<string, Session<S>, string>({
    maxWeight: MAX_STICKY_SESSIONS,
    onGone: ({ target }) => this.#left(target),
  });
  /** Targets that are drained, and what to call when their last session is over. */
  readonly #leaving = new Map<Target<S>, () => void>();
  readonly #tokens = new SharedTable<string, Target<S> | typeof SEVERAL, string>({ maxWeight: MAX_TOKENS });

  get sessions(): number {
    return this.#sessions.weight;
  }

  /** Where the call has to go, if an earlier answer says so. */
  targetOf(params: Params | undefined, caller: Caller | undefined): Target<S> | typeof SEVERAL | undefined {
    if (params === undefined || this.#tokens.weight === 0) return undefined;
    for (const kind of KINDS) {
      const token = params[kind];
      if (typeof token !== 'string') continue;
      const own = kind === 'requestState' ? this.#used(keyOf(kind, token, caller, params)) : undefined;
      const target = own ?? this.#used(keyOf(kind, token, caller));
      if (target !== undefined) return target;
    }
    return undefined;
  }

  /** An answer came: what of it a later call may name belongs to this target. */
  answered(
    method: string,
    params: Params | undefined,
    caller: Caller | undefined,
    result: unknown,
    target: Target<S>,
  ): void {
    for (const [kind, token] of tokensOf(method, params, result)) {
      const key = keyOf(kind, token, caller);
      // Two targets may give the same state to two clients: what was asked tells whose it is, as it is asked again with the state.
      if (kind === 'requestState') this.#remember(keyOf(kind, token, caller, params ?? {}), target, caller);
      // Any target may go on with a cursor or a state that others gave, too; a task is on one.
      const shared = kind === 'taskId' && (this.#tokens.get(key) ?? target) !== target;
      this.#remember(key, shared ? SEVERAL : target, caller);
    }
  }

  #used(key: string): Target<S> | typeof SEVERAL | undefined {
    this.#tokens.use(key);
    return this.#tokens.get(key);
  }

  #remember(key: string, target: Target<S> | typeof SEVERAL, caller: Caller | undefined): void {
    const owner = ownerOf(caller);
    // What several were given is no one's: none of them drives it out with what else it is given.
    const common = (this.#tokens.ownerOf(key) ?? owner) !== owner;
    this.#tokens.set(key, target, common ? COMMON : owner, 1);
  }

  /** An answer of `target` to `tasks/list`, without tasks whose ids another target gave the caller, too: its own is there. @throws MessageTooLargeError, ProtocolError */
  async ownTasks(server: string, caller: Caller | undefined, result: unknown, target: Target<S>): Promise<unknown> {
    if (this.#tokens.weight === 0) return result;
    if (result instanceof Uint8Array) checkReadable(server, result);
    const text = result instanceof Uint8Array ? utf8Text(Buffer.from(result)) : undefined;
    const list = (text === undefined ? result : parsedAnswer(server, text)) as
      | { readonly tasks?: unknown }
      | null
      | undefined;
    if (!Array.isArray(list?.tasks)) return result;
    const tasks: readonly ({ readonly taskId?: unknown } | null)[] = list.tasks;
    const own: unknown[] = [];
    let at = 0;
    // There may be tens of thousands, and each is hashed.
    await inSlices(() => {
      if (at === tasks.length) return true;
      const task = tasks[at++];
      const taskId = task?.taskId;
      const isOwn =
        typeof taskId !== 'string' || (this.#tokens.get(keyOf('taskId', taskId, caller)) ?? target) === target;
      if (isOwn) own.push(task);
      return false;
    });
    if (own.length === tasks.length) return result;
    const left = { ...list, tasks: own };
    return text === undefined ? left : Buffer.from(spliced(text, list, left));
  }

  session(caller: Caller | undefined): Session<S> | undefined {
    const key = sessionKey(caller);
    this.#sessions.use(key);
    return this.#sessions.get(key);
  }

  bind(caller: Caller | undefined, target: Target<S>): Session<S> {
    const session = { target, established: false };
    this.#sessions.set(sessionKey(caller), session, ownerOf(caller), 1);
    return session;
  }

  /** `releaseKey`: without a principal, the sessions of that key of all. */
  release(principal: string | undefined, key: string): void {
    if (principal !== undefined) {
      this.unbind({ principal, key });
      return;
    }
    // So ends no other: within a string a quote has a backslash.
    const end = `,${JSON.stringify(key)}]`;
    for (const [each] of this.#sessions) if (each.endsWith(end)) this.#end(each);
  }

  /** The session is over, or never began there: its next call may go anywhere. `only`: where it was then. */
  unbind(caller: Pick<Caller, 'principal' | 'key'>, only?: Target<S>): void {
    const key = sessionKey(caller);
    if (only === undefined || this.#sessions.get(key)?.target === only) this.#end(key);
  }

  /** Resolves when no session is bound to the target any more, at `timeoutMs`, or when the signal aborts. */
  async left(target: Target<S>, bounds: WaitBounds): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#leaving.set(target, resolve);
    });
    await within(gone, bounds).catch(() => undefined);
    this.#leaving.delete(target);
  }

  #end(key: string): void {
    const target = this.#sessions.get(key)?.target;
    this.#sessions.delete(key);
    if (target !== undefined) this.#left(target);
  }

  /** One of its sessions is over. */
  #left(target: Target<S>): void {
    if (this.#leaving.has(target) && !this.holds(target)) this.#leaving.get(target)?.();
  }

  /** Whether sessions are bound to the target. */
  holds(target: Target<S>): boolean {
    for (const [, session] of this.#sessions) if (session.target === target) return true;
    return false;
  }

  /** A target is gone for good. */
  forget(target: Target<S>): void {
    for (const [key, session] of this.#sessions) if (session.target === target) this.#sessions.delete(key);
    for (const [token, of] of this.#tokens) if (of === target) this.#tokens.delete(token);
  }
}

/** Under which name a caller's sessions are kept apart. */
export function sessionKey(caller: Pick<Caller, 'principal' | 'key'> | undefined): string {
  return JSON.stringify([caller?.principal ?? '', caller?.key ?? '']);
}

/** What `hash` goes by. */
export function hashKey(caller: Caller | undefined): string | undefined {
  return caller?.key === undefined && caller?.principal === undefined ? undefined : sessionKey(caller);
}

/** Whose share of what is remembered it counts to: its subject's, else that of where it asks from, else its session's. */
function ownerOf({ principal, subject = principal, origin, key }: Caller = {}): string {
  return JSON.stringify(subject !== undefined ? { subject } : origin !== undefined ? { origin } : { key });
}

/** Of one length, whatever a server gives as a token. `asked`: the params of the call that it was given for. */
function keyOf(kind: Kind, token: string, caller: Caller | undefined, asked?: Params): string {
  const { _meta: _, requestState: __, inputResponses: ___, ...same } = asked ?? {};
  const call = asked === undefined ? [] : [writtenOf(same)];
  return createHash('sha256')
    .update(JSON.stringify([caller?.principal ?? '', kind, token, ...call]))
    .digest('base64url');
}

function writtenOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    // It is nested too deep.
    return undefined;
  }
}

/** Whether a later call may name something of the answer, which means nothing to another target. */
export const binds = (method: string, params: Params | undefined, result: unknown): boolean =>
  tokensOf(method, params, result).length > 0;

/** Most answers hold none: where they are bytes, they are looked through for the names before they are parsed. */
function tokensOf(method: string, params: Params | undefined, result: unknown): Token[] {
  const list = method.endsWith('/list');
  if (!(result instanceof Uint8Array)) return tokensIn(result);
  const made = params?.['task'] === undefined ? undefined : madeTask(result);
  if (made !== undefined) return [['taskId', made]];
  // Few hold any, and to look through a large one takes long: what it may hold goes to any target.
  if (result.length > MAX_READ_BYTES) return [];
  const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
  const task = !list || method.startsWith('tasks/');
  if (!bytes.includes(list ? CURSOR : STATE) && !(task && bytes.includes(TASK))) return [];
  try {
    const [text, members] = membersIn(utf8Text(bytes));
    const [inner, ofTask] = membersIn(memberText(text, members, 'task') ?? '');
    const own = (name: string): unknown => stringOf(memberText(text, members, name));
    return tokensIn({
      nextCursor: own('nextCursor'),
      requestState: own('requestState'),
      taskId: own('taskId'),
      task: { taskId: stringOf(memberText(inner, ofTask, 'taskId')) },
    });
  } catch {
    return [];
  }
}

const membersIn = (text: string): readonly [string, readonly Member[]] => [text, membersOf(text) ?? []];

/** What a text says, if it is a string's: what else stands in an answer may take long to be read. */
const stringOf = (text: string | undefined): unknown => (text?.startsWith('"') ? JSON.parse(text) : undefined);

function tokensIn(result: unknown): Token[] {
  if (typeof result !== 'object' || result === null) return [];
  const { nextCursor, requestState, taskId, task } = result as Readonly<Record<string, unknown>>;
  const inner = typeof task === 'object' && task !== null ? (task as { readonly taskId?: unknown }).taskId : undefined;
  const found: (readonly [Kind, unknown])[] = [
    ['cursor', nextCursor],
    ['requestState', requestState],
    ['taskId', taskId],
    ['taskId', inner],
  ];
  return found.filter((each): each is Token => typeof each[1] === 'string');
}
