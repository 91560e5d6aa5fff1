import type { ServerNotice } from '../../connection/protocol/messages.js';
import { isRequest, type RpcMessage } from '../wire/messages.js';
import { differences, shown } from './differences.js';
import type { Exchange } from './exchanges.js';
import { plain } from './meta.js';

/** Notifications that are not in the recording and are told one by one: a server may send them without end. */
const MAX_MORE = 100;

/** The notifications of a recording, which come again in whatever order. */
export class Notices {
  readonly #ignore: readonly string[];
  /** Those that did not come yet. */
  readonly #left: RpcMessage[];
  readonly #more: string[] = [];
  #untold = 0;
  #onLast = (): void => undefined;

  constructor(exchanges: readonly Exchange[], ignore: readonly string[]) {
    this.#ignore = ignore;
    this.#left = exchanges.flatMap(({ steps, after }) =>
      [...steps.map(({ message }) => message), ...after].filter(
        (each) => !isRequest(each) && each.method !== 'notifications/progress',
      ),
    );
  }

  hear({ method, params }: ServerNotice): void {
    const got = plain(params);
    const place = this.#left.findIndex(
      (each) => each.method === method && differences(plain(each.params), got, this.#ignore, 'params').length === 0,
    );
    if (place >= 0) this.#left.splice(place, 1);
    else if (this.#more.length < MAX_MORE) this.#more.push(`${method} ${shown(got)}`);
    else this.#untold++;
    if (this.#left.length === 0) this.#onLast();
  }

  /** Resolves when each has come, or after so many ms. */
  settled(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#onLast = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#left.length === 0) this.#onLast();
    });
  }

  *divergences(): Generator<string> {
    for (const { method, params } of this.#left) yield `${method} ${shown(plain(params))} did not come`;
    for (const each of this.#more) yield `${each} came, and is not in the recording`;
    if (this.#untold > 0) yield `${this.#untold} more notifications came that are not in the recording`;
  }
}
