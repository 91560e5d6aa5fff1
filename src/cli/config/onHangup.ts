import { fstatSync } from 'node:fs';

export interface HangupOptions {
  /** Reads the config again; resolves to whether it said something else than before. */
  readonly reload: () => Promise<boolean>;
  readonly stop: () => void;
}

/**
 * SIGHUP has two meanings: a terminal that closed, and a wish to read the config again. Where a terminal is there it is the
 * first. Where stdin is `/dev/null`, as under systemd and in containers, it is the second. A program that started this one
 * over pipes may mean either: a config that has changed lately is read, and with one that has not it is a stop, so that nothing is left
 * behind by a starter that goes.
 */
export function onHangup({ reload, stop }: HangupOptions): Disposable {
  const listener = (): void => {
    if (hasTerminal()) {
      stop();
      return;
    }
    reload().then(
      (changed) => {
        if (!changed && !isDevice(0)) stop();
      },
      // It is closing already.
      () => stop(),
    );
  };
  process.on('SIGHUP', listener);
  return { [Symbol.dispose]: () => void process.off('SIGHUP', listener) };
}

const hasTerminal = (): boolean => process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;

function isDevice(fd: number): boolean {
  try {
    return fstatSync(fd).isCharacterDevice();
  } catch {
    return true; // closed, as daemons do
  }
}
