import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Clock } from '../../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import { messageOf } from '../../../core/errors.js';
import { Emitter, type Listener } from '../../../core/events.js';
import { MAX_FILE_BYTES, readOpen } from '../../../core/files/readWhole.js';
import { type Logger, silentLogger } from '../../../core/logger.js';
import { checkMs, checkText, withDefaults } from '../../../core/options.js';
import { sleep } from '../../../core/time/sleep.js';
import { checkParsing, type ParsedConfig, type ParseOptions, parseConfig, unreadable } from '../configFile.js';

export interface ConfigWatcherOptions extends Omit<ParseOptions, 'file'> {
  /** The file. It may be missing now, and a link whose target is another later. */
  readonly file: string;
  /** For so long, in ms, from 1, a file must not have changed before it is read: who writes it may not be through. @defaultValue 200 */
  readonly settleMs?: number;
  /** How often the file is looked at, in ms, from 1: one `stat` each. @defaultValue 500 */
  readonly pollMs?: number;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

/** A part of a JSON text is no JSON; a part of a TOML text may well be TOML. So that file must be quiet for longer. */
const TOML_LOOKS = 5;

export const CONFIG_WATCHER_DEFAULTS = Object.freeze({ settleMs: 200, pollMs: 500 });

export interface ConfigWatcherEvents {
  /** The file says something else than before. What is wrong with it, also that it is gone, is in `problems`. */
  readonly change: ParsedConfig;
}

/**
 * Tells when a config file says something else, however it was edited: written over, replaced by a rename, behind a link
 * that leads elsewhere now. A file is read when it has not changed for `settleMs`, and what was read counts only when the
 * file was the same before and after; so half a file is never told. It is found by looking, not by `fs.watch`: network file
 * systems and the targets of links tell of nothing.
 */
export class ConfigWatcher implements Closeable, AsyncDisposable {
  readonly #file: string;
  readonly #parse: ParseOptions;
  readonly #settleMs: number;
  readonly #scope: CloseScope;
  readonly #events: Emitter<ConfigWatcherEvents>;
  readonly #closing = new AbortController();
  /** How many looks in a row must find the same. */
  readonly #looks: number;
  /** What the file was when it was last looked at, how many looks in a row found that, and whether it was read. */
  #stamp: string | undefined;
  #same = 0;
  #read = false;
  /** Of the text that was last told. */
  #told: string | undefined;
  #looking: Promise<void> | undefined;

  /** `text`: what is known of the file already; only another one is told. @throws OptionError */
  constructor(given: ConfigWatcherOptions, text?: string) {
    const others = { file: true, variables: true, workspaceFolder: true, logger: true, clock: true } as const;
    const options = withDefaults('ConfigWatcher', given, CONFIG_WATCHER_DEFAULTS, others);
    const { file, variables, workspaceFolder, logger = silentLogger, clock } = options;
    this.#file = checkText('file', file);
    checkParsing(options);
    this.#parse = { file, ...(variables && { variables }), ...(workspaceFolder !== undefined && { workspaceFolder }) };
    this.#settleMs = checkMs('settleMs', options.settleMs, { min: 1 });
    checkMs('pollMs', options.pollMs, { min: 1 });
    this.#looks = /\.toml$/i.test(file) ? TOML_LOOKS : 1;
    this.#told = text === undefined ? undefined : digest(text);
    this.#events = new Emitter((error) => logger.error({ error }, 'a listener of the config threw'));
    this.#scope = new CloseScope('ConfigWatcher', {
      logger,
      ...(clock && { clock }),
      onRefuse: () => this.#closing.abort(),
      onRelease: () => this.#events.clear(),
    });
    this.#scope.every('look at the config', options.pollMs, () => this.check());
  }

  /** Looks at the file now. Resolves when a change that there was has been told. */
  check(): Promise<void> {
    this.#scope.assertOpen();
    this.#looking ??= this.#scope.track(
      this.#look().finally(() => {
        this.#looking = undefined;
      }),
    );
    return this.#looking;
  }

  on<K extends keyof ConfigWatcherEvents>(event: K, listener: Listener<ConfigWatcherEvents[K]>): Disposable {
    this.#scope.assertOpen();
    return this.#events.on(event, listener);
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Until the file is as it was one `settleMs` ago. */
  async #look(): Promise<void> {
    while (!this.#scope.closing) {
      const now = await this.#contents(this.#read ? this.#stamp : undefined);
      const same = now.stamp !== undefined && now.stamp === this.#stamp;
      if (same && this.#read) return;
      this.#stamp = now.stamp;
      this.#same = same ? this.#same + 1 : 0;
      this.#read = this.#same >= this.#looks;
      if (this.#read) {
        this.#tell(now);
        return;
      }
      await sleep(this.#scope.clock, this.#settleMs, { signal: this.#closing.signal }).catch(ignored);
    }
  }

  #tell({ text, error }: Contents): void {
    const print = text === undefined ? `unreadable: ${messageOf(error)}` : digest(text);
    if (print === this.#told || this.#scope.closing) return;
    this.#told = print;
    this.#events.emit('change', text === undefined ? unreadable(this.#file, error) : parseConfig(text, this.#parse));
  }

  /** What the file says, unless it is still what it was when it was read. */
  async #contents(known: string | undefined): Promise<Contents> {
    let handle: FileHandle | undefined;
    try {
      const found = await stat(this.#file, { bigint: true });
      // To open a pipe may wait for ever, and it can be read but once.
      if (!found.isFile()) return NO_FILE;
      if (stampOf(found) === known) return { stamp: known, text: undefined, error: undefined };
      if (found.size > MAX_FILE_BYTES) {
        const error = new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
        return { stamp: stampOf(found), text: undefined, error };
      }
      // Another may stand there by now.
      handle = await open(this.#file, constants.O_RDONLY | constants.O_NONBLOCK);
      const opened = await handle.stat({ bigint: true });
      if (!opened.isFile()) return NO_FILE;
      const before = stampOf(opened);
      const text = await readOpen(handle, true);
      const after = stampOf(await handle.stat({ bigint: true }));
      // Changed while it was read: the next look decides.
      return { stamp: before === after ? before : undefined, text, error: undefined };
    } catch (error) {
      return { stamp: messageOf(error), text: undefined, error };
    } finally {
      await handle?.close();
    }
  }
}

interface Contents {
  /** Changes with the file; undefined while it cannot be told. */
  readonly stamp: string | undefined;
  readonly text: string | undefined;
  readonly error: unknown;
}

const NO_FILE: Contents = { stamp: 'no file', text: undefined, error: new Error('it is no regular file') };

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

/** The watcher is closing. */
const ignored = (): void => undefined;

const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
