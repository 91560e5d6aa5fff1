import { ACTING_METHODS } from '../faults/rule/FaultRule.js';
import type { HistoryEvent } from '../history/HistoryEvent.js';
import type { RpcRequest } from '../wire/messages.js';
import { differences, shown } from './differences.js';
import { type Exchange, exchangesOf } from './exchanges.js';
import { plain, plainParams } from './meta.js';

/** A recording that a fake server answers from: each exchange that acts is played once. */
export class Playback {
  readonly #exchanges: readonly Exchange[];
  readonly #played = new Set<Exchange>();

  /** @throws OptionError when nothing is recorded */
  constructor(events: readonly HistoryEvent[]) {
    this.#exchanges = exchangesOf(events);
  }

  /** The first exchange of this request that was not played; of what changes nothing, the last one again. */
  take({ method, params }: Pick<RpcRequest, 'method' | 'params'>): Exchange | undefined {
    // What the two ends agree on anew may be worded otherwise.
    const same = HANDSHAKES.has(method)
      ? this.#of(method)
      : this.#of(method).filter(({ request }) => isSame(request.params, params));
    const found =
      same.find((each) => !this.#played.has(each)) ?? (ACTING_METHODS.has(method) ? undefined : same.at(-1));
    if (found !== undefined) this.#played.add(found);
    return found;
  }

  /** Why a request is not played, with the difference to the one that comes next. */
  miss({ method, params }: Pick<RpcRequest, 'method' | 'params'>): string {
    const what = `${method} ${shown(plain(params))}`;
    const same = this.#of(method);
    const next = same.find((each) => !this.#played.has(each));
    if (same.length === 0) return `${what} is not in the recording`;
    if (next === undefined || same.some(({ request }) => isSame(request.params, params))) {
      return `${what} comes once more than in the recording`;
    }
    const where = differences(plainParams(next.request.params), plainParams(params), [], 'params');
    return `${what} is not in the recording; the next ${method} there differs in ${where.join('; ')}`;
  }

  /** Calls that act and did not come. */
  get missing(): string[] {
    return this.#exchanges
      .filter((each) => !this.#played.has(each) && ACTING_METHODS.has(each.request.method))
      .map(({ request }) => `${request.method} ${shown(plain(request.params))} is in the recording, and did not come`);
  }

  #of(method: string): readonly Exchange[] {
    return this.#exchanges.filter(({ request }) => request.method === method);
  }
}

const HANDSHAKES: ReadonlySet<string> = new Set(['initialize', 'server/discover']);

const isSame = (recorded: unknown, got: unknown): boolean =>
  differences(plainParams(recorded), plainParams(got)).length === 0;
