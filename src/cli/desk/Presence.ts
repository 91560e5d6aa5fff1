import { HttpLink, type HttpLinkOptions } from '../../gateway/stdio/HttpLink.js';
import { textOf } from '../../gateway/stdio/readResponse.js';

export interface PresenceOptions extends Pick<HttpLinkOptions, 'url' | 'headers' | 'agent'> {
  /** The connections of the client's calls. */
  readonly calls: HttpLink;
  /** How often the gateway is asked, in ms. */
  readonly everyMs: number;
}

/** An answer is a few bytes. */
const MAX_ANSWER_BYTES = 64 * 1_024;

/**
 * Asks a gateway again and again whether it is there. That keeps a connection, by which the gateway knows of its client. One that hangs keeps
 * its connections open and says nothing: when neither this is answered whole from one look to the next nor anything of an answer comes for
 * the calls, they are cut, so that each of them is told. Any answer will do: what is no gateway says 404.
 */
export class Presence implements Disposable {
  readonly #options: PresenceOptions;
  readonly #link: HttpLink;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #asking = false;
  #heard = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const { url, headers, agent, everyMs } = options;
    this.#link = new HttpLink({ url, ...(headers && { headers }), ...(agent && { agent }) });
    this.#timer = setInterval(() => this.#look(), everyMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#over.abort();
    this.#link[Symbol.dispose]();
  }

  #look(): void {
    const { calls } = this.#options;
    const { heard } = calls;
    const silent = this.#asking && heard === this.#heard;
    this.#heard = heard;
    if (!this.#asking) void this.#ask();
    else if (silent) for (const link of [calls, this.#link]) link.cut(new Error('the gateway does not answer'));
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    try {
      const response = await this.#link.request({ method: 'GET', path: '/livez', signal: this.#over.signal });
      await textOf(response, this.#link.incoming, MAX_ANSWER_BYTES);
    } catch {
      // It is down: the next call says so.
    } finally {
      this.#asking = false;
    }
  }
}
