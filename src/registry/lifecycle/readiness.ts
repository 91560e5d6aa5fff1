import { connect } from 'node:net';
import type { Readable } from 'node:stream';
import type { Clock } from '../../core/clock.js';
import { sleep } from '../../core/time/sleep.js';
import { within } from '../../core/time/within.js';
import type { ManagedProcess } from '../process/ManagedProcess.js';
import type { FullLifecycleConfig, Readiness } from './options.js';

export interface ReadinessContext {
  readonly clock: Clock;
  /** Gives up the wait, with its reason. */
  readonly signal: AbortSignal;
  /** Takes note of a promise of the user's that may outlive the wait. */
  readonly trackUser: <T>(promise: Promise<T>) => Promise<T>;
}

/** Why a program that runs, or ran, is not ready. */
export class NotReady extends Error {}

/** Resolves when the program is ready. @throws NotReady when it ended before or took too long; the abort's reason */
export async function whenReady(
  process: ManagedProcess,
  config: Pick<FullLifecycleConfig, 'readiness' | 'readyTimeoutMs'>,
  context: ReadinessContext,
): Promise<void> {
  const { readiness, readyTimeoutMs } = config;
  context.signal.throwIfAborted();
  if (readiness.type === 'none') return;
  const over = new AbortController();
  const signal = over.signal;
  let giveUp!: (error: Error) => void;
  const failed = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  using _timer = context.clock.setTimer(
    () => giveUp(new NotReady(`it was not ready within ${readyTimeoutMs} ms`)),
    readyTimeoutMs,
    { ref: true },
  );
  using _exit = process.onExit(() => giveUp(new NotReady('it ended before it was ready')));
  try {
    await within(Promise.race([waitFor(process, readiness, { ...context, signal }), failed]), context);
  } finally {
    over.abort();
  }
}

async function waitFor(process: ManagedProcess, readiness: Readiness, context: ReadinessContext): Promise<void> {
  if (readiness.type === 'line') await lineOf(process.stdout, readiness.match, context.signal);
  if (readiness.type === 'port') await portOf(readiness.host ?? '127.0.0.1', readiness.port, context);
  if (readiness.type === 'check') {
    const { check } = readiness;
    await context.trackUser((async () => check(process, { signal: context.signal }))());
  }
}

const MAX_LINE_LENGTH = 65_536;

function lineOf(stdout: Readable, match: string | RegExp, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let line = '';
    const pattern = typeof match === 'string' ? match : new RegExp(match.source, match.flags.replace(/[gy]/g, ''));
    const matches = (): boolean => {
      // Split as bytes, matched as text: a newline byte is never part of another character in UTF-8.
      const text = Buffer.from(line, 'latin1').toString('utf8').replace(/\r$/, '');
      return typeof pattern === 'string' ? text.includes(pattern) : pattern.test(text);
    };
    const leave = (): void => {
      stdout.off('readable', onReadable);
      signal.removeEventListener('abort', leave);
    };
    const onReadable = (): void => {
      for (let chunk = stdout.read() as Buffer | null; chunk !== null; chunk = stdout.read() as Buffer | null) {
        let from = 0;
        for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
          line = (line + chunk.toString('latin1', from, at)).slice(0, MAX_LINE_LENGTH);
          from = at + 1;
          if (matches()) {
            leave();
            if (from < chunk.length) stdout.unshift(chunk.subarray(from));
            resolve();
            return;
          }
          line = '';
        }
        line = (line + chunk.toString('latin1', from)).slice(0, MAX_LINE_LENGTH);
      }
    };
    signal.addEventListener('abort', leave, { once: true });
    stdout.on('readable', onReadable);
  });
}

const PORT_RETRY_MS = 50;

async function portOf(host: string, port: number, { clock, signal }: ReadinessContext): Promise<void> {
  while (!signal.aborted) {
    if (await canConnect(host, port, signal)) return;
    await sleep(clock, PORT_RETRY_MS, { signal }).catch(() => undefined);
  }
}

function canConnect(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (connected: boolean) => (): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      resolve(connected);
    };
    const abort = end(false);
    socket.once('connect', end(true));
    socket.once('error', abort);
    signal.addEventListener('abort', abort, { once: true });
  });
}
