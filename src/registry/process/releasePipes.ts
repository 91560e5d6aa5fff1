import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import type { Clock } from '../../core/clock.js';
import { within } from '../../core/time/within.js';

/** How long a reader gets for what the dead left in a pipe. */
const PIPE_GRACE_MS = 250;

/**
 * Lets go of a dead child's pipes. A reader gets what was written before the end; what is not read would
 * hold its descriptor for ever.
 */
export async function releasePipes(child: ChildProcessWithoutNullStreams, clock: Clock): Promise<void> {
  const { stdin, stdout, stderr } = child;
  stdin.destroy();
  const closed = [stdout, stderr].map((stream) => {
    if (stream.closed) return undefined;
    if (stream.readableFlowing !== true) stream.destroy();
    return new Promise<void>((resolve) => stream.once('close', resolve));
  });
  await within(Promise.all(closed), { clock, timeoutMs: PIPE_GRACE_MS }).catch(() => undefined);
  stdout.destroy();
  stderr.destroy();
}
