import { onStopSignals } from '../../core/close/onStopSignals.js';
import { messageOf, OptionError, show } from '../../core/errors.js';
import { MAX_RECORDING_BYTES, readNamed } from '../../core/files/readWhole.js';
import { appendWhole } from '../../core/files/writeWhole.js';
import { UnifiedPool } from '../../pool/UnifiedPool.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { runFakeServer } from '../../testing/fake/child/runFakeServer.js';
import { epochNow } from '../../testing/faults/events.js';
import { History } from '../../testing/history/History.js';
import { runFaultProxy } from '../../testing/proxy/runFaultProxy.js';
import { replay } from '../../testing/replay/replay.js';
import { complain } from '../output/complain.js';
import { writeOut } from '../output/showResult.js';
import { tryOut } from './tryOut.js';

export interface RecordCommandOptions {
  readonly out: string;
  readonly name: string;
}

export interface ReplayCommandOptions {
  readonly url?: string;
  readonly ignore?: readonly string[];
  readonly timeout: number;
  readonly json?: boolean;
}

/** Runs until its stdin or its server ends; exits with 1 and one line when it cannot. */
export async function recordTraffic(
  [command = '', ...args]: readonly string[],
  options: RecordCommandOptions,
): Promise<void> {
  const { out, name } = options;
  try {
    tryOut('--out', out);
    const wire = `${name} ${process.pid}`;
    await runFaultProxy({
      plan: {},
      name,
      command,
      args,
      onMessage: (from, text) => {
        const event = JSON.stringify({ type: 'message', atMs: epochNow(), server: name, wire, from });
        // As it came: a message may be nested deeper than JSON can be made of it again.
        appendWhole(out, `${event.slice(0, -1)},"message":${text.trim()}}\n`);
      },
    });
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  }
}

export async function replayRecording(
  file: string,
  command: readonly string[],
  options: ReplayCommandOptions,
): Promise<void> {
  try {
    const target = targetOf(command, options.url);
    const recording = await recordingIn(file);
    if (target === undefined) runFakeServer({ replay: recording });
    else await compare(recording, target, options);
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  }
}

function targetOf([command, ...args]: readonly string[], url: string | undefined): ServerConfig | undefined {
  const own = { name: 'server', sharing: 'bound' } as const;
  if (command !== undefined && url !== undefined) throw new OptionError('--url', url, 'a command or a URL, not both');
  if (url !== undefined) return { ...own, transport: 'http', url };
  return command === undefined ? undefined : { ...own, transport: 'stdio', command, args };
}

async function recordingIn(file: string): Promise<History> {
  const text = await readNamed(file, MAX_RECORDING_BYTES);
  const why = (what: string): Error => new Error(`${file} is no recording, as record writes it: ${what}`);
  let recording: History;
  try {
    recording = History.parse(text);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const { option, value, expected } = error;
    throw why(`${option.replace(/^history /, '')}: expected ${expected}, got ${show(value)}`);
  }
  if (recording.events.every(({ type }) => type !== 'message')) throw why('it holds no message');
  return recording;
}

async function compare(recording: History, target: ServerConfig, options: ReplayCommandOptions): Promise<void> {
  const { ignore = [], timeout: timeoutMs, json } = options;
  const pool = new UnifiedPool();
  // Until the pool has closed: a signal meanwhile must not leave a server behind.
  using _ = onStopSignals(() => void pool.close({ graceMs: 0 }));
  await using _closing = pool;
  pool.addServer(target);
  const verdict = await replay(recording, pool, target.name, { ignore, timeoutMs });
  await writeOut(`${json === true ? JSON.stringify(verdict) : String(verdict)}\n`);
  if (!verdict.ok) process.exitCode = 2;
}
