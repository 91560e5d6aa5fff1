import type { ServerNotice } from '../../connection/protocol/messages.js';
import { isRequest, type RpcMessage } from '../wire/messages.js';
import { comparable, shown } from './differences.js';
import type { Exchange } from './exchanges.js';
import { plain, plainParams } from './meta.js';

/** Notifications that are not in the recording and are told one by one: a server may send them without end. */
const MAX_MORE = 100;

/** The notifications of a recording, which come again in whatever order. */
export class Notices {
  readonly #ignore: readonly string[];
  /** Those that did not come yet. */
  readonly #left: Set<RpcMessage>;
  /** The same by what is compared of them, the first last: one that comes is looked up, however many there are. */
  readonly #byText = new Map<string, RpcMessage[]>();
  readonly #more: string[] = [];
  #untold = 0;
  #deep = 0;
  #onLast = (): void => undefined;

  constructor(exchanges: readonly Exchange[], ignore: readonly string[]) {
    this.#ignore = ignore;
    this.#left = new Set(
      exchanges.flatMap(({ steps, after }) =>
        [...steps.map(({ message }) => message), ...after].filter(
          (each) => !isRequest(each) && each.method !== 'notifications/progress',
        ),
      ),
    );
    for (const each of [...this.#left].reverse()) {
      const text = this.#textOf(each);
      const same = this.#byText.get(text);
      if (same === undefined) this.#byText.set(text, [each]);
      else same.push(each);
    }
  }

  hear(notice: ServerNotice): void {
    const recorded = this.#byText.get(this.#textOf(notice))?.pop();
    if (recorded !== undefined) this.#left.delete(recorded);
    else if (this.#more.length < MAX_MORE) this.#more.push(`${notice.method} ${shown(plain(notice.params))}`);
    else this.#untold++;
    if (this.#left.size === 0) this.#onLast();
  }

  /** One that is nested too deep is like no other. */
  #textOf({ method, params }: ServerNotice | RpcMessage): string {
    return `${method} ${comparable(plainParams(params), this.#ignore, 'params') ?? `deep ${this.#deep++}`}`;
  }

  /** Resolves when each has come, or after so many ms. */
  settled(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#onLast = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#left.size === 0) this.#onLast();
    });
  }

  *divergences(): Generator<string> {
    for (const { method, params } of this.#left) yield `${method} ${shown(plain(params))} did not come`;
    for (const each of this.#more) yield `${each} came, and is not in the recording`;
    if (this.#untold > 0) yield `${this.#untold} more notifications came that are not in the recording`;
  }
}
