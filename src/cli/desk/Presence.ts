import { HttpLink, type HttpLinkOptions } from '../../gateway/stdio/HttpLink.js';

export interface PresenceOptions extends Pick<HttpLinkOptions, 'url' | 'headers'> {
  /** The connections of the client's calls. */
  readonly calls: HttpLink;
  /** How often the gateway is asked, in ms. */
  readonly everyMs: number;
}

/** Looks at which nothing has come from one that never said whether it is there: another kind of server, perhaps, and a long call. */
const MAX_SILENT_LOOKS = 30;

/**
 * Asks a gateway again and again whether it is there. That keeps a connection, by which the gateway knows of its client. One that hangs keeps
 * its connections open and says nothing: when neither this is answered in time nor anything comes for the calls, they are cut, so that each
 * of them is told.
 */
export class Presence implements Disposable {
  readonly #options: PresenceOptions;
  readonly #link: HttpLink;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #asking = false;
  #answered = false;
  #heard = 0;
  #silent = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const { url, headers, everyMs } = options;
    this.#link = new HttpLink({ url, ...(headers && { headers }) });
    this.#timer = setInterval(() => this.#look(), everyMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#over.abort();
    this.#link[Symbol.dispose]();
  }

  #look(): void {
    const { heard } = this.#options.calls;
    this.#silent = this.#asking && heard === this.#heard ? this.#silent + 1 : 0;
    this.#heard = heard;
    if (!this.#asking) void this.#ask();
    else if (this.#silent >= (this.#answered ? 1 : MAX_SILENT_LOOKS)) {
      const error = new Error('the gateway does not answer');
      for (const link of [this.#options.calls, this.#link]) link.cut(error);
    }
  }

  async #ask(): Promise<void> {
    this.#asking = true;
    try {
      const response = await this.#link.request({ method: 'GET', path: '/livez', signal: this.#over.signal });
      response.resume();
      this.#answered = true;
    } catch {
      // It is down: the next call says so.
    } finally {
      this.#asking = false;
    }
  }
}
