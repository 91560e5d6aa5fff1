import { messageOf, StartError } from '../../../core/errors.js';
import { visible } from '../../../core/show.js';
import { failureLogger } from '../../faults/failureLogger.js';
import { deafen, exitSelf, ownHand, startDaemon, whenWritten } from '../../wire/stdio/ownProcess.js';
import { FakeServer } from '../FakeServer.js';
import type { FakeServerOptions } from '../FakeServerOptions.js';

/**
 * Makes this process a fake server over its stdin and stdout, until its stdin ends or nothing reads its stdout. One that replays a
 * recording says on stderr where it diverged, and exits with code 2 then.
 */
export function runFakeServer(options: FakeServerOptions): void {
  let exitCode = 0;
  const server = new FakeServer({
    ...options,
    logger: failureLogger((error, what) => {
      exitCode = 1;
      process.stderr.write(visible(`${what}: ${messageOf(error)}\n`));
    }),
    onEvent: (event) => {
      if (event.type !== 'divergence') return;
      exitCode = 2;
      process.stderr.write(visible(`the replay diverged: ${event.what}\n`));
    },
  });
  let deaf = false;
  let closed = false;
  // The client is gone, unless a fault has closed it: that one lives on.
  process.stdout.on('error', () => {
    if (deaf || closed) return;
    server.finish();
    exitSelf(exitCode);
  });
  server.plan.on('injected', ({ fault }) => {
    if (fault === 'closeOutput') closed = true;
    if (fault === 'deaf') {
      deaf = true;
      deafen();
    }
    if (fault === 'daemon') startDaemon();
  });
  process.stdin.on('end', () => {
    if (deaf) return;
    server.finish();
    whenWritten(() => exitSelf(exitCode));
  });
  try {
    server.serve(process.stdin, process.stdout, ownHand());
  } catch (error) {
    // The hand has ended the process already, or is about to.
    if (!(error instanceof StartError)) throw error;
  }
}
