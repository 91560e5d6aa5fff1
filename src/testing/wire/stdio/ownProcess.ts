import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { systemClock, type Timer } from '../../../core/clock.js';
import type { WireEnd } from '../WireCall.js';
import type { ProcessHand } from './LineWire.js';

/** A daemon of ours ends by itself after so many seconds, should nothing find it. */
const DAEMON_SECONDS = 120;
/** How long a client may take to read what was written before this process ended, in ms. */
const UNREAD_MS = 30_000;
/** And from a signal on: as long as the last answers of the other commands have. */
const STOPPED_MS = 2_000;

export interface OwnHand extends ProcessHand {
  /** A signal has come: little is waited for from now on. */
  hurry(): void;
}

/** What faults do to this very process. It ends once `before` has: what depends on it is ended there. `before` never rejects. */
export function ownHand(before?: () => Promise<void>): OwnHand {
  let ending = false;
  let unreadMs = UNREAD_MS;
  let wait: ((timeoutMs: number) => void) | undefined;
  const endWhenWritten = (end: WireEnd): void => {
    wait = whenWritten(() => {
      ending = false;
      endSelf(end);
    }, unreadMs);
  };
  return {
    hurry: () => {
      unreadMs = STOPPED_MS;
      wait?.(unreadMs);
    },
    end: (end) => {
      // The first end is the one that is seen.
      if (ending) return;
      ending = true;
      if (before === undefined) endWhenWritten(end);
      else void before().then(() => endWhenWritten(end));
    },
    stderr: (text) => writeAll(2, text),
    closeOutput: () => closeSync(1),
  };
}

/**
 * Calls back when stdout has taken all that was written, or is gone, or has not for too long: at once when nothing waits. What it gives
 * waits for so long from then on.
 */
export function whenWritten(done: () => void, timeoutMs = UNREAD_MS): ((timeoutMs: number) => void) | undefined {
  const { stdout } = process;
  if (stdout.writableLength === 0 || stdout.destroyed) {
    done();
    return undefined;
  }
  let timer: Timer | undefined;
  const end = (): void => {
    timer?.cancel();
    stdout.off('close', end);
    stdout.off('error', end);
    done();
  };
  const wait = (ms: number): void => {
    timer?.cancel();
    timer = systemClock.setTimer(end, ms);
  };
  wait(timeoutMs);
  stdout.once('close', end);
  stdout.once('error', end);
  stdout.write('', (error) => {
    // An error is told by its event.
    if (!error) end();
  });
  return wait;
}

/** From now on neither SIGTERM nor the end of stdin ends this process. */
export function deafen(): void {
  process.on('SIGTERM', () => undefined);
  process.on('SIGHUP', () => undefined);
  setInterval(() => undefined, 60_000);
}

/** A child in a session of its own that this process forgets. */
export function startDaemon(): void {
  spawn('sleep', [String(DAEMON_SECONDS)], { detached: true, stdio: 'ignore' }).unref();
}

function endSelf({ exitCode, signal }: WireEnd): void {
  if (signal === undefined) exitSelf(exitCode ?? 1);
  process.kill(process.pid, signal);
}

/** An end that is well is none when something has failed meanwhile, as when stdout could not be written. */
export function exitSelf(exitCode: number): never {
  return exitCode === 0 ? process.exit() : process.exit(exitCode);
}

/** All of it, now: a pipe that is full is waited for. */
function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
  }
}
