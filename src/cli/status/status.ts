import { systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { sleep } from '../../core/time/sleep.js';
import { complain } from '../output/complain.js';
import { visible } from '../output/visible.js';
import { OwnScreen } from './OwnScreen.js';
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
  const { stdout } = process;
  const stop = new AbortController();
  if (watch) {
    process.once('SIGINT', () => stop.abort());
    // Its reader has gone, as `head` does.
    stdout.once('error', () => stop.abort());
  }
  do {
    try {
      const data = await readStatus(source, stop.signal, json);
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
  if (!process.stdout.isTTY) return status({ ...source, watch: true });
  const stop = new AbortController();
  using own = new OwnScreen(() => stop.abort());
  do {
    const lines = await readStatus(source, stop.signal).then(
      (data) => statusLines(data),
      (error: unknown) => [messageOf(error)],
    );
    if (!stop.signal.aborted) own.draw(lines);
  } while (await pause(stop.signal));
}

/** False when it was stopped. */
function pause(signal: AbortSignal): Promise<boolean> {
  return sleep(systemClock, EVERY_MS, { signal }).then(
    () => true,
    () => false,
  );
}
