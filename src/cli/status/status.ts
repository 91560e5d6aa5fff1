import { systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { sleep } from '../../core/time/sleep.js';
import { complain } from '../output/complain.js';
import { visible } from '../output/visible.js';
import { readStatus, type StatusSource } from './readStatus.js';
import { statusLines } from './render.js';

export interface StatusCommandOptions extends StatusSource {
  readonly watch?: boolean;
  readonly json?: boolean;
}

/** How often a gateway that is watched is asked. */
const EVERY_MS = 1_000;

/** `mcp-poolkit status`: how the servers of a running gateway stand, once or again each second. */
export async function status({ watch = false, json = false, ...source }: StatusCommandOptions): Promise<void> {
  const stop = new AbortController();
  if (watch) process.once('SIGINT', () => stop.abort());
  do {
    try {
      const data = await readStatus(source);
      process.stdout.write(json ? `${visible(JSON.stringify(data))}\n` : `${statusLines(data).join('\n')}\n`);
      if (watch && !json) process.stdout.write('\n');
    } catch (error) {
      complain(messageOf(error));
      if (!watch) process.exitCode = 1;
    }
  } while (watch && (await pause(stop.signal)));
}

/** `mcp-poolkit top`: the same, on a screen of its own. */
export async function top(source: StatusSource): Promise<void> {
  const { stdin, stdout } = process;
  if (!stdout.isTTY) return status({ ...source, watch: true });
  const stop = new AbortController();
  const quit = (): void => stop.abort();
  process.once('SIGINT', quit);
  process.once('SIGTERM', quit);
  const onKey = (key: Buffer): void => {
    if (key.includes('q') || key.includes(0x03)) quit();
  };
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on('data', onKey);
  // The alternate screen, without a cursor: what was on the terminal is there again at the end.
  stdout.write('\u001b[?1049h\u001b[?25l');
  try {
    do {
      const lines = await readStatus(source).then(
        (data) => statusLines(data, stdout.columns),
        (error: unknown) => [messageOf(error)],
      );
      const shown = [...lines.slice(0, stdout.rows - 2), '', 'q quits'];
      stdout.write(`\u001b[H${shown.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`);
    } while (await pause(stop.signal));
  } finally {
    stdout.write('\u001b[?25h\u001b[?1049l');
    stdin.off('data', onKey);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
}

/** False when it was stopped. */
function pause(signal: AbortSignal): Promise<boolean> {
  return sleep(systemClock, EVERY_MS, { signal }).then(
    () => true,
    () => false,
  );
}
