import { LineReader } from '../../connection/stdio/LineReader.js';
import { OutputReader } from '../../connection/stdio/OutputReader.js';
import { systemClock } from '../../core/clock.js';
import { onStopSignals } from '../../core/close/onStopSignals.js';
import { messageOf, StartError } from '../../core/errors.js';
import { visible } from '../../core/show.js';
import { within } from '../../core/time/within.js';
import { LedgerKeeper } from '../../registry/lifecycle/LedgerKeeper.js';
import type { ProcessRecord } from '../../registry/lifecycle/record.js';
import { ManagedProcess, type StopOptions } from '../../registry/process/ManagedProcess.js';
import { planState } from '../fake/planState.js';
import { EventLog } from '../faults/EventLog.js';
import { FaultPlan, type FaultPlanOptions } from '../faults/FaultPlan.js';
import { failureLogger } from '../faults/failureLogger.js';
import { faultEvent } from '../faults/faultEvent.js';
import { isAnswer, isCostly, parseMessage, passedUnread, type RpcId } from '../wire/messages.js';
import { LineWire } from '../wire/stdio/LineWire.js';
import { deafen, ownHand, startDaemon } from '../wire/stdio/ownProcess.js';
import { BackPressure } from './BackPressure.js';
import { EffectTally } from './EffectTally.js';

export interface StdioFaultProxyOptions {
  readonly plan: FaultPlanOptions;
  /** How far the plan is, kept in a file. */
  readonly stateFile?: string;
  /** Where each fault, and each call the server was handed, is appended. */
  readonly eventsFile?: string;
  /** The server's name, for rules with a `server`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Told of each message that passes, as JSON text as its sender sent it. */
  readonly onMessage?: (from: 'client' | 'server', text: string) => void;
}

/** The server runs all the same: it would only outlive a kill of this process. */
const warnOfLedger = (error: unknown): void => complain(error, 'the ledger cannot be kept');

function complain(error: unknown, what: string): void {
  process.stderr.write(visible(`mcp-poolkit: ${what}: ${messageOf(error)}\n`));
}

/** A line that passes as it came: it is no message, or has too many values to be parsed. */
function asItCame(from: 'client' | 'server', line: Buffer): Buffer {
  if (isCostly(line)) {
    process.stderr.write(`mcp-poolkit: ${passedUnread(from, line.length)}, nor is it recorded\n`);
  }
  return Buffer.concat([line, NEWLINE]);
}

/** How long a fault may hold messages back once stdin has ended, and again once the server has exited, in ms. */
const HELD_MS = 2_000;
const NEWLINE = Buffer.from('\n');
/** Larger than any message a test sends. */
const MAX_LINE_BYTES = 256 * 2 ** 20;
const tooLong = (bytes: number): Error =>
  new Error(`a message of ${bytes} bytes or more, where ${MAX_LINE_BYTES} are passed on`);

/**
 * Makes this process stand between its stdin and stdout and a stdio server of any language: what passes goes wrong as
 * the plan says, and everything else passes byte for byte. It ends with the server, whose stdin ends when its own does.
 */
export async function runFaultProxy(options: StdioFaultProxyOptions): Promise<void> {
  const { plan, stateFile, eventsFile, name, command, args, onMessage } = options;
  let server: ManagedProcess | undefined;
  // Whatever ends this process, nothing of its server is left then.
  const hand = ownHand(() =>
    stop({ graceMs: 0 }).catch((error: unknown) => {
      process.exitCode = 1;
      complain(error, 'its server is not stopped');
    }),
  );
  // What cannot be written down is not passed on either: a history that lacks it would convict or acquit wrongly.
  const failed = (error: unknown, what: string): void => {
    complain(error, what);
    // At once, whatever waits to be read: nothing more may pass.
    server?.group.killNow();
    process.exit(1);
  };
  const logger = failureLogger(failed);
  const faults = new FaultPlan(plan, planState(stateFile, logger));
  const log = new EventLog({ maxEvents: 0, logger, ...(eventsFile !== undefined && { eventsFile }) });
  const tally = new EffectTally(name, log.tell);
  let deaf = false;
  faults.on('injected', ({ fault }) => {
    if (fault === 'deaf') {
      deaf = true;
      deafen();
    }
    if (fault === 'daemon') startDaemon();
  });
  const start = faults.nextStart({ server: name, wire: 'stdio' });
  if (start !== undefined) log.tell(faultEvent(start));
  if (start?.fault === 'refuse') {
    process.stderr.write('the fault plan refused it\n');
    process.exit(start.settings.exitCode ?? 3);
  }
  const env = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  // Before there is a server, since a signal while it is being started must not leave it behind.
  const stopping = new AbortController();
  const ledger = new LedgerKeeper({}, { clock: systemClock, onSwept: () => undefined, onFailure: warnOfLedger });
  let record: ProcessRecord | undefined;
  const stop = async (within?: StopOptions): Promise<void> => {
    await server?.stop(within);
    if (record !== undefined) await ledger.forget(record);
  };
  const end = (): void => {
    stopping.abort();
    ledger.shorten(0);
    if (server !== undefined) endInOrder();
  };
  /** The client says nothing more, and may still read. */
  let inputEnded = false;
  /** What the server wrote that may be an answer. */
  let unread = 0;
  /** What a fault held back at the exit of the server has passed. */
  let lastPassed: Promise<void> | undefined;
  // What the stop cannot prove is told by the second, which the hand begins.
  const endInOrder = (): void =>
    void stop()
      .catch(() => undefined)
      .then(() => lastPassed)
      .then(() => hand.end({ exitCode: 0, why: 'its client is gone' }));
  const onSignal = (): void => {
    hand.hurry();
    end();
  };
  if (!deaf) onStopSignals(onSignal);
  await ledger.ready;
  record = await ledger.intend(name, { command, args });
  const started = ManagedProcess.spawn(name, { command, args, env }, record && { token: record.token });
  // Of one that did not start nothing is left to be found.
  const child = await started.catch((error: unknown) => stop().then(() => Promise.reject(error)));
  server = child;
  if (record !== undefined) await ledger.complete(record, child);
  if (stopping.signal.aborted) return end();
  process.stdout.on('error', () => void (deaf || end()));
  child.stdin.on('error', () => undefined);
  const toServer = (text: string | Buffer): void => {
    if (!child.stdin.write(text)) pressure.hold();
  };
  const wire: LineWire = new LineWire({
    server: name,
    plan: faults,
    input: process.stdin,
    output: process.stdout,
    hand,
    ...(onMessage !== undefined && {
      onMessage: (from, text) => {
        try {
          onMessage(from, text);
        } catch (error) {
          failed(error, 'a message cannot be recorded');
        }
      },
    }),
    onFault: log.tell,
    toServer: (message, call) => {
      if (call !== undefined) tally.asked(call.request, undefined);
      if (message.method === 'notifications/cancelled') tally.cancelled(message.params?.['requestId'] as RpcId);
      toServer(`${wire.textOf(message)}\n`);
    },
    onOversized: (bytes) => failed(tooLong(bytes), 'the client is not passed on'),
    onRaw: (line) => toServer(asItCame('client', line)),
    onEnd: () => {
      if (deaf) return;
      inputEnded = true;
      void held().then(endInOrder);
    },
  });
  const held = (): Promise<void> =>
    within(wire.settled(), { clock: systemClock, timeoutMs: HELD_MS, signal: stopping.signal }).catch(() => undefined);
  const pressure: BackPressure = new BackPressure({
    output: child.stdin,
    client: wire,
    onOrphaned: () => void (deaf || end()),
    onStalled: () => failed(new Error('its server reads nothing'), 'the client is not passed on'),
  });
  const lines = new LineReader(MAX_LINE_BYTES, {
    onLine: (line) => {
      // A client that does not read holds its server back, as it would without this process between them.
      if (process.stdout.writableNeedDrain) output.pause();
      const text = line.toString('utf8');
      const costly = isCostly(line);
      if (costly) unread++;
      const message = costly ? undefined : parseMessage(text);
      if (message === undefined) wire.raw(asItCame('server', line));
      else {
        if (isAnswer(message)) tally.answered(message.id);
        wire.fromServer(message, text);
      }
    },
    onOversized: ({ bytes }) => failed(tooLong(bytes), 'the output of the server cannot be passed on'),
  });
  const output: OutputReader = new OutputReader(child.stdout, lines, {
    alone: () => true,
    onError: (error) => failed(error, 'the output of the server cannot be passed on'),
  });
  process.stdout.on('drain', () => output.resume());
  // As it is for a log, and so that it steers no terminal.
  const shown = process.stderr.isTTY ? visible : String;
  child.onStderr((line) => void process.stderr.write(`${shown(line)}\n`));
  child.onExit(({ exitCode, signal }) => {
    output.drain();
    if (deaf) return;
    const endAsItDid = (): void => {
      wire.close();
      hand.end(
        signal === null
          ? { exitCode: exitCode ?? 1, why: 'the server exited' }
          : { signal, why: 'the server was killed' },
      );
    };
    if (!inputEnded) return endAsItDid();
    const unanswered = wire.unanswered - unread;
    if (unanswered > 0) process.stderr.write(`mcp-poolkit: the server ended with ${unanswered} requests unanswered\n`);
    lastPassed = held().then(endAsItDid);
  });
  if (child.exitInfo !== undefined) throw new StartError(name, 'it exited at once');
  wire.begin(start);
}
