import { systemClock } from '../clock.js';
import { within } from '../time/within.js';

/** The longest that a disk is waited for, in ms. */
export const DISK_MS = 5_000;

/**
 * Has what a disk is asked end in time: a file system that hangs, such as one of a server that has gone, answers never. While one
 * thing hangs others are refused at once: it may yet be done, and after them.
 */
export class DiskTime {
  #hanging = 0;

  /** As `work`, or rejects after 5 s. */
  async within<T>(work: () => Promise<T>): Promise<T> {
    if (this.#hanging > 0) throw new Error('the disk hangs');
    const working = work();
    const late = (): Error => {
      this.#hanging++;
      const over = (): void => void this.#hanging--;
      working.then(over, over);
      return new Error(`the disk has not answered within ${DISK_MS} ms`);
    };
    return within(working, { clock: systemClock, timeoutMs: DISK_MS, late });
  }
}
