import { inSlices } from '../../../core/time/inSlices.js';

/** Whether two lists say the same; large ones are compared in turns of the event loop. */
export async function sameItems(a: readonly unknown[], b: readonly unknown[]): Promise<boolean> {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  let at = 0;
  await inSlices(() => {
    if (at === a.length || JSON.stringify(a[at]) !== JSON.stringify(b[at])) return true;
    at++;
    return false;
  }, 1);
  return at === a.length;
}
