import { messageOf, OptionError } from '../../core/errors.js';
import { holdOpen } from '../../core/files/writeWhole.js';

/** Before there is anything to write: a file that cannot be written is known at once, and a pipe is open until the end. @throws OptionError */
export function tryOut(option: string, file: string): void {
  try {
    holdOpen(file);
  } catch (error) {
    throw new OptionError(option, file, `a file that can be written: ${messageOf(error)}`, error);
  }
}
