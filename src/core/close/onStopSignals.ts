import { constants } from 'node:os';
import { endProcess } from './endProcess.js';
import { runLastResort } from './lastResort.js';

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * For a command that has children and stops by itself: its first signal calls `stop`, a second ends this process at once, and
 * every child in the same turn. Until disposed; then signals have their default effect again.
 */
export function onStopSignals(stop: () => void): Disposable {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) {
      runLastResort();
      void endProcess(128 + constants.signals[signal]);
      return;
    }
    stopping = true;
    stop();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  return {
    [Symbol.dispose]: () => {
      for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
    },
  };
}
