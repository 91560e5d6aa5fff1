import { messageOf, OptionError } from '../../core/errors.js';
import { appendWhole } from '../../core/files/writeWhole.js';

/** Before there is anything to write: a file that cannot be written is known at once. @throws OptionError */
export function tryOut(option: string, file: string): void {
  try {
    appendWhole(file, '');
  } catch (error) {
    throw new OptionError(option, file, `a file that can be written: ${messageOf(error)}`, error);
  }
}
