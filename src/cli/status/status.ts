import { systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { sleep } from '../../core/time/sleep.js';
import { complain } from '../output/complain.js';
import { plain } from '../output/plain.js';
import { visible } from '../output/visible.js';
import { readStatus, type StatusSource } from './readStatus.js';
import { statusLines } from './render.js';

export interface StatusCommandOptions extends StatusSource {
  readonly watch?: boolean;
  readonly json?: boolean;
}

/** How often a gateway that is watched is asked. */
const EVERY_MS = 1_000;

/** What a terminal has that does not say how large it is. */
const ROWS = 24;
const COLUMNS = 80;
/** Not SIGHUP: a terminal that has gone has nothing to be put right, and Node aborts when it tries to at its own exit. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const;

/** `mcp-poolkit status`: how the servers of a running gateway stand, once or again each second. */
export async function status({ watch = false, json = false, ...source }: StatusCommandOptions): Promise<void> {
  const { stdout } = process;
  const stop = new AbortController();
  if (watch) {
    process.once('SIGINT', () => stop.abort());
    // Its reader has gone, as `head` does.
    stdout.once('error', () => stop.abort());
  }
  do {
    try {
      const data = await readStatus(source, stop.signal);
      // A reader that is behind is told what is so when it has caught up.
      if (watch && stdout.writableNeedDrain) continue;
      stdout.write(json ? `${visible(JSON.stringify(data))}\n` : `${statusLines(data).join('\n')}\n`);
      if (watch && !json) stdout.write('\n');
    } catch (error) {
      if (stop.signal.aborted) break;
      complain(messageOf(error));
      if (!watch) process.exitCode = 1;
    }
  } while (watch && (await pause(stop.signal)));
  // What is not read would keep this process for as long as its reader lives.
  if (watch && stdout.writableLength > 0) process.exit();
}

/** `mcp-poolkit top`: the same, on a screen of its own. */
export async function top(source: StatusSource): Promise<void> {
  const { stdin, stdout } = process;
  if (!stdout.isTTY) return status({ ...source, watch: true });
  const stop = new AbortController();
  const quit = (): void => stop.abort();
  for (const signal of SIGNALS) process.once(signal, quit);
  const onKey = (key: Buffer): void => {
    if (key.includes('q') || key.includes(0x03)) quit();
  };
  const onGone = (): void => void process.kill(process.pid, 'SIGHUP');
  if (stdin.isTTY) {
    stdin.setRawMode(true);
    for (const event of ['end', 'error']) stdin.once(event, onGone);
  }
  stdout.once('error', onGone);
  stdin.on('data', onKey);
  // The alternate screen, without a cursor: what was on the terminal is there again at the end.
  stdout.write('\u001b[?1049h\u001b[?25l');
  try {
    do {
      const lines = await readStatus(source, stop.signal).then(
        (data) => statusLines(data),
        (error: unknown) => [messageOf(error)],
      );
      if (!stop.signal.aborted) stdout.write(screen(lines, stdout));
    } while (await pause(stop.signal));
  } finally {
    stdout.write('\u001b[?25h\u001b[?1049l');
    stdin.off('data', onKey);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
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

/** False when it was stopped. */
function pause(signal: AbortSignal): Promise<boolean> {
  return sleep(systemClock, EVERY_MS, { signal }).then(
    () => true,
    () => false,
  );
}
