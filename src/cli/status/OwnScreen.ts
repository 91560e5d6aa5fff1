import { plain } from '../output/plain.js';

/** What a terminal has that does not say how large it is. */
const ROWS = 24;
const COLUMNS = 80;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const;
/** The alternate screen, without a cursor; a line that is too wide, as of characters that take two columns, is cut, and begins no other. */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const KEYS = Object.freeze({ interrupt: 0x03, suspend: 0x1a, quit: 0x1c });
/** A program whose parent is no shell is not stopped by Ctrl-Z: it goes on after so long, in ms. */
const UNSTOPPED_MS = 200;

/** The terminal as a screen of its own, until a key or a signal ends it. What was there before is there again however it ends or is suspended. */
export class OwnScreen implements Disposable {
  readonly #quit: () => void;
  #entered = false;
  #lines: readonly string[] = [];
  #unstopped: NodeJS.Timeout | undefined;

  constructor(quit: () => void) {
    this.#quit = quit;
    const { stdin, stdout } = process;
    for (const signal of SIGNALS) process.on(signal, quit);
    process.on('SIGHUP', this.#onHangUp).on('SIGTSTP', this.#onStop).on('SIGCONT', this.#onContinue);
    process.on('exit', this.#leave);
    stdout.on('resize', this.#redraw).on('error', this.#onHangUp);
    stdin.on('data', this.#onKey);
    if (stdin.isTTY) stdin.on('end', this.#onHangUp).on('error', this.#onHangUp);
    this.#enter();
  }

  draw(lines: readonly string[]): void {
    this.#lines = lines;
    this.#redraw();
  }

  [Symbol.dispose](): void {
    const { stdin, stdout } = process;
    clearTimeout(this.#unstopped);
    this.#leave();
    for (const signal of SIGNALS) process.off(signal, this.#quit);
    process.off('SIGTSTP', this.#onStop).off('SIGCONT', this.#onContinue).off('exit', this.#leave);
    stdout.off('resize', this.#redraw);
    stdin.off('data', this.#onKey).pause();
  }

  readonly #redraw = (): void => {
    if (this.#entered) process.stdout.write(screen(this.#lines, process.stdout));
  };

  #enter(): void {
    if (this.#entered) return;
    this.#entered = true;
    // First: what is in the background is stopped here, before it writes.
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.stdout.write(ENTER);
    this.#redraw();
  }

  readonly #leave = (): void => {
    if (!this.#entered) return;
    this.#entered = false;
    process.stdout.write(LEAVE);
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
  };

  readonly #onKey = (keys: Buffer): void => {
    if (keys.includes('q') || keys.includes(KEYS.interrupt) || keys.includes(KEYS.quit)) this.#quit();
    // All of its job, as a terminal would: npx, for example.
    else if (keys.includes(KEYS.suspend)) this.#suspend(0);
  };

  readonly #onStop = (): void => this.#suspend(process.pid);

  #suspend(pid: number): void {
    this.#leave();
    process.off('SIGTSTP', this.#onStop);
    process.kill(pid, 'SIGTSTP');
    this.#unstopped = setTimeout(this.#onContinue, UNSTOPPED_MS);
  }

  readonly #onContinue = (): void => {
    clearTimeout(this.#unstopped);
    process.off('SIGTSTP', this.#onStop).on('SIGTSTP', this.#onStop);
    // Who stopped it by SIGSTOP may have changed the terminal.
    this.#leave();
    this.#enter();
  };

  /** By the signal itself, not by an exit: where the terminal has gone there is nothing to be put right, and Node aborts when it tries to. */
  readonly #onHangUp = (): void => {
    process.off('SIGHUP', this.#onHangUp);
    this.#leave();
    process.kill(process.pid, 'SIGHUP');
  };
}

/** Lines on a terminal, from its upper left corner on: no more than it has room for, however small it is. */
export function screen(
  lines: readonly string[],
  terminal: { readonly rows?: number; readonly columns?: number },
): string {
  const rows = terminal.rows || ROWS;
  const shown = rows < 3 ? lines.slice(0, rows) : [...lines.slice(0, rows - 2), '', 'q quits'];
  const cut = shown.map((line) => plain(line, terminal.columns || COLUMNS));
  return `\u001b[H${cut.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`;
}
