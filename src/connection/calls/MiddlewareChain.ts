import { OptionError } from '../../core/errors.js';
import { checkFunction } from '../../core/options.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import type { Params } from '../protocol/messages.js';
import type { Caller } from './Caller.js';
import { CallResult } from './CallResult.js';
import type { CallChanges, Middleware, MiddlewareCall } from './Middleware.js';

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

  constructor(origin: CallOrigin, params: Params | undefined, changes: CallChanges, attempt: number) {
    this.#origin = origin;
    this.params = params;
    this.changes = changes;
    this.attempt = attempt;
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
    return new Call(this.#origin, changes?.params ?? this.params, merged, this.attempt + before);
  }

  #text(name: string): string | undefined {
    const value = this.params?.[name];
    return typeof value === 'string' ? value : undefined;
  }
}

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

  /** Through all of them, then to `end`. */
  run(
    origin: CallOrigin,
    params: Params | undefined,
    changes: CallChanges,
    end: (call: PassedCall) => Promise<CallResult>,
  ): Promise<CallResult> {
    return step(this.#list, 0, new Call(origin, params, changes, 1), end);
  }
}

type End = (call: PassedCall) => Promise<CallResult>;

function step(list: readonly Middleware[], at: number, call: Call, end: End): Promise<CallResult> {
  const middleware = list[at];
  return middleware === undefined ? end(call) : passed(middleware, list, at + 1, call, end);
}

async function passed(
  middleware: Middleware,
  list: readonly Middleware[],
  next: number,
  call: Call,
  end: End,
): Promise<CallResult> {
  let times = 0;
  const given: unknown = await middleware(call, (changes) => step(list, next, call.changed(changes, times++), end));
  if (given instanceof CallResult) return given;
  if (call.kind === 'notification') return CallResult.NONE;
  if (typeof given === 'object' && given !== null) return CallResult.of(given);
  throw new OptionError('middleware', given, 'a result: what next() gave, or an object');
}
