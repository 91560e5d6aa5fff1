import { systemClock } from '../clock.js';
import { DISK_MS } from '../files/DiskTime.js';
import { sleep } from '../time/sleep.js';

/** Between two looks, in ms. */
const LOOK_MS = 20;

const isAsking = (): boolean => process.getActiveResourcesInfo().some((each) => each.startsWith('FSReq'));

/**
 * Ends the process, in this turn unless a disk is being asked: Node waits for its answer in `process.exit`, for ever where the disk hangs, or a pipe
 * stands in a file's place. Such a process is killed after 5 s.
 */
export async function endProcess(exitCode?: number): Promise<void> {
  const untilMs = systemClock.now() + DISK_MS;
  while (isAsking()) {
    if (systemClock.now() >= untilMs) process.kill(process.pid, 'SIGKILL');
    await sleep(systemClock, LOOK_MS);
  }
  process.exit(exitCode ?? process.exitCode);
}
