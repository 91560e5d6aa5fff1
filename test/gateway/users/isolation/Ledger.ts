import { META_CALL, stampOf } from '../../../../src/testing/faults/events.js';
import type { History } from '../../../../src/testing/history/History.js';

export type Params = Readonly<Record<string, unknown>>;

/** A JSON-RPC message as a client got it. */
export interface Message {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message?: string; readonly data?: unknown };
}

/** A client: its user, the session that is its alone, and the server it calls. */
export interface Who {
  /** Undefined: a client without a name. */
  readonly principal: string | undefined;
  readonly session: string;
  readonly server: string;
}

/** The first call of each user, by whose stamp the checker knows whose a list is. */
export type Owners = Map<string, string>;

const nameOf = ({ principal }: Who): string => principal ?? 'nobody';
let ids = 0;

/** What one client said and heard, in the words of the history: what the checker judges. */
export class Ledger {
  readonly who: Who;
  readonly #history: History;
  readonly #owners: Owners;
  /** Calls that wait for their answers, by id. */
  readonly #pending = new Map<unknown, string>();
  readonly #tokens = new Map<unknown, string>();

  constructor(who: Who, history: History, owners: Owners) {
    this.who = who;
    this.#history = history;
    this.#owners = owners;
  }

  /** An id that no client has used. */
  nextId(): number {
    return ++ids;
  }

  /** A call is made: its params with stamp and progress token. */
  invoke(params: Params, id: number, answered: boolean): { readonly call: string; readonly params: Params } {
    const call = this.#history.nextCall();
    if (!this.#owners.has(nameOf(this.who))) this.#owners.set(nameOf(this.who), call);
    const tool = String(params['name']).split('__').at(-1) ?? '';
    const expect = answered ? ({ expect: 'answer' } as const) : {};
    this.#history.add({ type: 'invoke', call, ...this.#owner, method: 'tools/call', tool, ...expect });
    this.#tokens.set(id, call);
    const meta = { ...(params['_meta'] as Params | undefined), [META_CALL]: call, progressToken: id };
    return { call, params: { ...params, _meta: meta } };
  }

  /** A request of the call goes out under this id. */
  sent(call: string, id: number): void {
    this.#pending.set(id, call);
  }

  isCall(id: unknown): boolean {
    return this.#pending.has(id);
  }

  /** The call is over without an answer: the history says so. */
  lost(call: string, why: string): void {
    this.#history.add({ type: 'failure', call, code: 'lost', message: why });
  }

  /** Writes a message down; gives what is to be done about it. */
  took(message: Message): 'answered' | 'asked' | 'needed' | 'told' {
    const { id, method, params, result, error } = message;
    if (method === undefined) return this.#answered(id, result, error);
    const of = stampOf(params);
    const about = of === undefined ? {} : { of };
    const call = method === 'notifications/progress' ? this.#tokens.get(params?.['progressToken']) : undefined;
    if (call !== undefined) {
      this.#history.add({ type: 'progress', call, progress: Number(params?.['progress']), ...about });
    } else {
      const type = id === undefined ? 'notification' : 'request';
      this.#history.add({ type, ...this.#owner, method, ...about });
    }
    return id === undefined ? 'told' : 'asked';
  }

  /** A list, which names the user that it was made for: it reached this one. */
  listed(tools: readonly { readonly name: string }[]): void {
    for (const { name } of tools) {
      const [, user] = /for-(\w+)$/.exec(name) ?? [];
      const of = user === undefined ? undefined : this.#owners.get(user);
      // A list is for all sessions of its user, as the word that it changed is.
      if (of !== undefined)
        this.#history.add({ type: 'notification', ...this.#owner, method: 'tools/list_changed', of });
    }
  }

  get #owner() {
    const { principal, session, server } = this.who;
    return { server, session, ...(principal !== undefined && { principal }) };
  }

  #answered(id: unknown, result: Params | undefined, error: Message['error']): 'answered' | 'needed' {
    // An answer to what this client never asked is convicted as such.
    const call = this.#pending.get(id) ?? `never made: ${JSON.stringify(id)} of ${this.who.session}`;
    this.#pending.delete(id);
    if (result?.['resultType'] === 'input_required') {
      for (const asked of Object.values(result['inputRequests'] as Record<string, Message>)) {
        this.took({ ...asked, id: 'input' });
      }
      return 'needed';
    }
    const of = stampOf(error === undefined ? result : error.data);
    const about = of === undefined ? {} : { of };
    if (error === undefined) this.#history.add({ type: 'answer', call, ...about });
    else this.#history.add({ type: 'failure', call, code: 'ERR_RPC', message: String(error.message), ...about });
    return 'answered';
  }
}
