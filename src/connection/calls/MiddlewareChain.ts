import { OptionError } from '../../core/errors.js';
import { checkFunction } from '../../core/options.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { lookedAt } from '../channel/codec/exactText.js';
import type { CallOptions, Params } from '../protocol/messages.js';
import type { Caller } from './Caller.js';
import { CallResult } from './CallResult.js';
import type { CallChanges, Middleware, MiddlewareCall } from './Middleware.js';
import { spliced } from './spliced.js';

/** A call as it was made. */
export interface CallOrigin {
  readonly kind: MiddlewareCall['kind'];
  readonly from: MiddlewareCall['from'];
  readonly server: string | undefined;
  readonly path?: string | undefined;
  readonly method: string;
  readonly caller: Caller | undefined;
  readonly idempotent: boolean;
  readonly era: () => Era | undefined;
  /** What its caller says beside what middleware may change: of its times, and of the client it is made for. */
  readonly options?: OwnOptions;
  /** Made on a connection that is its caller's for a while. */
  readonly leased?: boolean;
}

type OwnOptions = Pick<
  CallOptions,
  'acquireTimeoutMs' | 'maxTotalTimeoutMs' | 'resetTimeoutOnProgress' | 'pauseWhileAsked' | 'client' | 'onRequest'
>;

/** Params as they were written. */
export interface WrittenParams {
  readonly params: Params | undefined;
  readonly text: string;
}

/** What goes on to the end of a chain. */
export interface PassedCall extends MiddlewareCall {
  /** The very object that went in, where no middleware changed any of it. */
  readonly changes: CallChanges;
}

/** Of calls that are never given up. */
const NEVER = new AbortController().signal;

class Call implements PassedCall {
  readonly params: Params | undefined;
  readonly changes: CallChanges;
  readonly attempt: number;
  readonly #origin: CallOrigin;
  readonly #written: WrittenParams | undefined;

  constructor(
    origin: CallOrigin,
    params: Params | undefined,
    changes: CallChanges,
    attempt: number,
    written: WrittenParams | undefined,
  ) {
    this.#origin = origin;
    this.params = params;
    this.changes = changes;
    this.attempt = attempt;
    this.#written = written;
  }

  /** The text of its params as they go on; undefined where they are to be written from their values. */
  static textOf(call: MiddlewareCall): string | undefined {
    const written = #written in call ? call.#written : undefined;
    return written && spliced(written.text, written.params, call.params);
  }

  static timesOf(call: MiddlewareCall): string {
    if (!(#origin in call)) return '';
    const { acquireTimeoutMs, maxTotalTimeoutMs, resetTimeoutOnProgress, pauseWhileAsked } = call.#origin.options ?? {};
    const { timeoutMs } = call.changes;
    return String([timeoutMs, acquireTimeoutMs, maxTotalTimeoutMs, resetTimeoutOnProgress, pauseWhileAsked]);
  }

  static askerOf(call: MiddlewareCall): unknown {
    const { client, onRequest } = (#origin in call && call.#origin.options) || {};
    // Servers of the legacy era are not told the client of a call.
    const told = call.era === 'legacy' ? undefined : client;
    return onRequest === undefined ? told : [told];
  }

  static isLeased(call: MiddlewareCall): boolean {
    return #origin in call && call.#origin.leased === true;
  }

  get kind(): MiddlewareCall['kind'] {
    return this.#origin.kind;
  }
  get from(): MiddlewareCall['from'] {
    return this.#origin.from;
  }
  get server(): string | undefined {
    return this.#origin.server;
  }
  get path(): string | undefined {
    return this.#origin.path;
  }
  get method(): string {
    return this.#origin.method;
  }
  get caller(): Caller | undefined {
    return this.#origin.caller;
  }
  get idempotent(): boolean {
    return this.#origin.idempotent;
  }
  get era(): Era | undefined {
    return this.#origin.era();
  }
  get signal(): AbortSignal {
    return this.changes.signal ?? NEVER;
  }
  get deadlineMs(): number | undefined {
    return this.changes.deadlineMs;
  }
  get tool(): string | undefined {
    return this.method === 'tools/call' ? this.#text('name') : undefined;
  }
  get prompt(): string | undefined {
    return this.method === 'prompts/get' ? this.#text('name') : undefined;
  }
  get uri(): string | undefined {
    return this.method.startsWith('resources/') || this.method === 'notifications/resources/updated'
      ? this.#text('uri')
      : undefined;
  }

  /** It as it goes on, after so many times before. */
  changed(changes: CallChanges | undefined, before: number): Call {
    if (changes === undefined && before === 0) return this;
    const merged = changes === undefined ? this.changes : { ...this.changes, ...changes };
    return new Call(this.#origin, changes?.params ?? this.params, merged, this.attempt + before, this.#written);
  }

  #text(name: string): string | undefined {
    const value = this.params?.[name];
    return typeof value === 'string' ? value : undefined;
  }
}

/** The JSON that a call's params are sent as, where it was written by another: it says more than their values can. */
export const paramsTextOf = (call: MiddlewareCall): string | undefined => Call.textOf(call);

/** How long a call may wait and run, but for its `deadlineMs`, as text: equal for calls with equal times. */
export const timesOf = (call: MiddlewareCall): string => Call.timesOf(call);

/** The client that its server is told of, and whether that can be asked: a value, equal for those who are answered alike. */
export const askerOf = (call: MiddlewareCall): unknown => Call.askerOf(call);

/** Whether it is made on a lease: what it brings may depend on what its holder did before. */
export const isLeased = (call: MiddlewareCall): boolean => Call.isLeased(call);

/** Middleware in the order it was added: the first stands outermost. */
export class MiddlewareChain {
  #list: readonly Middleware[] = [];

  /** How many there are: with none, nothing is run through here. */
  get size(): number {
    return this.#list.length;
  }

  /** Adds one, innermost so far, for calls from now on; until disposed. @throws OptionError */
  use(middleware: Middleware): Disposable {
    checkFunction('middleware', middleware);
    const own: Middleware = (call, next) => middleware(call, next);
    this.#list = [...this.#list, own];
    return {
      [Symbol.dispose]: () => {
        this.#list = this.#list.filter((each) => each !== own);
      },
    };
  }

  /**
   * Through all of them, then to `end`. `text`: the params as they were written, in which no name comes twice. `admit`: what one of them gives waits there
   * until it goes on to the next.
   */
  run(
    origin: CallOrigin,
    params: Params | undefined,
    changes: CallChanges,
    end: End,
    text?: string,
    admit?: Admit,
  ): Promise<CallResult> {
    const written = text === undefined ? undefined : { params, text };
    return step(this.#list, 0, new Call(origin, lookedAt(params), changes, 1, written), end, admit);
  }
}

type End = (call: PassedCall) => Promise<CallResult>;
export type Admit = (result: CallResult) => CallResult | Promise<CallResult>;

function step(list: readonly Middleware[], at: number, call: Call, end: End, admit?: Admit): Promise<CallResult> {
  const middleware = list[at];
  return middleware === undefined ? end(call) : passed(middleware, list, at + 1, call, end, admit);
}

async function passed(
  middleware: Middleware,
  list: readonly Middleware[],
  next: number,
  call: Call,
  end: End,
  admit?: Admit,
): Promise<CallResult> {
  let times = 0;
  const given: unknown = await middleware(call, (changes) =>
    step(list, next, call.changed(changes, times++), end, admit),
  );
  if (call.kind === 'notification' && !(given instanceof CallResult)) return CallResult.NONE;
  if (typeof given !== 'object' || given === null)
    throw new OptionError('middleware', given, 'a result: what next() gave, or an object');
  const result = CallResult.of(given);
  // What the outermost gives goes to no other one.
  return next === 1 || admit === undefined ? result : admit(result);
}

/** Members of params that go on with what one client was asked, or ask for a task of its own. */
const ONES_OWN = ['requestState', 'inputResponses', 'task'] as const;

/** Whether a call is for its caller alone: what it brings is another thing each time, or is asked for once. */
export const isForOne = (params: Params | undefined): boolean =>
  params !== undefined && ONES_OWN.some((name) => params[name] !== undefined);
