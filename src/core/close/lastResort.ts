import { closeSync, fstatSync, statSync } from 'node:fs';
import { devNull } from 'node:os';
import { isatty } from 'node:tty';

/**
 * What must be done before this process ends, whatever ends it: children are killed in the same turn. A set of synchronous
 * functions; code that ends the process by `process.exit` (`ShutdownPlan.listen`) runs them first. Nothing is hooked by itself.
 */
const actions = new Set<() => void>();

/** `action` is run before the process is ended, until disposed. It must be quick, and may not wait. */
export function atLastResort(action: () => void): Disposable {
  actions.add(action);
  return { [Symbol.dispose]: () => void actions.delete(action) };
}

/** Runs them all, whatever one of them throws. Nothing can be read or written any more on a terminal that has gone. */
export function runLastResort(): void {
  for (const action of [...actions]) {
    try {
      action();
    } catch {
      // The process is ending: the error cannot be reported, and the other functions must still run.
      actions.delete(action);
    }
  }
  leaveTerminal();
}

/** Node puts the terminal as it was when it ends, and aborts where it cannot, as when that was closed: it does not try where none is open. */
function leaveTerminal(): void {
  for (const fd of [0, 1, 2]) {
    try {
      const stat = fstatSync(fd);
      if (stat.isCharacterDevice() && !isatty(fd) && stat.rdev !== statSync(devNull).rdev) closeSync(fd);
    } catch {
      // It is closed.
    }
  }
}
