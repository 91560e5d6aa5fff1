import { OutcomeUnknownError, PoolkitError, RpcError } from '../../core/errors.js';
import type { ManagedProcess } from '../../registry/process/ManagedProcess.js';
import type { ConnectionOptions } from '../Connection.js';
import { Channel } from '../channel/Channel.js';
import { type ClientIdentity, modernEnvelope } from '../protocol/handshake.js';
import { MODERN_VERSIONS, modernVersionIn, modernVersionOffered } from '../protocol/versions.js';
import { LineReader } from './LineReader.js';
import { messageIn } from './messageIn.js';
import { OutputReader } from './OutputReader.js';
import { StdioWriter } from './StdioWriter.js';

/** What a probe found; `evidence` is false when the server just said nothing, which proves neither era. */
export interface ProbeResult {
  readonly era: 'legacy' | 'modern';
  readonly version?: string;
  readonly evidence: boolean;
}

/**
 * Asks a short-lived process which era its server speaks: `server/discover`, and nothing else, since some servers exit
 * on any request that comes before `initialize`. Whatever is no modern answer is legacy. The caller ends `process`.
 */
export async function probeEra(
  process: ManagedProcess,
  options: ConnectionOptions &
    ClientIdentity & { readonly server: string; readonly probeTimeoutMs: number; readonly signal?: AbortSignal },
): Promise<ProbeResult> {
  const channel: Channel = new Channel(
    { send: (call, text) => writer.send(call, text), post: (text) => void writer.post(text) },
    { ...options, onBatch: (messages) => output.charge(messages) },
  );
  const { server, clock, maxMessageBytes, probeTimeoutMs: timeoutMs } = options;
  const writer = new StdioWriter(process.stdin, { server, clock, channel, maxUnsentBytes: maxMessageBytes });
  const reader = new LineReader(maxMessageBytes, {
    onLine: (line) => {
      const text = messageIn(line);
      if (text === undefined || !channel.read(text)) options.logger.debug({ server }, 'a line that is not JSON');
    },
    onOversized: () => channel.fail('its answer is too large'),
  });
  process.stdin.on('error', () => channel.fail('its input broke'));
  const output = new OutputReader(process.stdout, reader, {
    alone: () => true,
    onError: () => channel.fail('its output could not be read'),
  });
  const exit = process.onExit(() => channel.fail('it exited'));
  const version = MODERN_VERSIONS[0] as string;
  try {
    const params = { _meta: modernEnvelope(options, version)() };
    const bounds = {
      timeoutMs,
      acquireTimeoutMs: timeoutMs,
      maxTotalTimeoutMs: timeoutMs,
      ...(options.signal && { signal: options.signal }),
    };
    const common = modernVersionIn(await channel.request('server/discover', params, bounds));
    return common === undefined
      ? { era: 'legacy', evidence: true }
      : { era: 'modern', version: common, evidence: true };
  } catch (error) {
    const offered = modernVersionOffered(error);
    if (offered !== undefined) return { era: 'modern', version: offered, evidence: true };
    if (error instanceof RpcError || error instanceof OutcomeUnknownError) return { era: 'legacy', evidence: true };
    // Silent, or gone before it was asked: the start itself will tell more.
    if (error instanceof PoolkitError) return { era: 'legacy', evidence: false };
    throw error;
  } finally {
    exit[Symbol.dispose]();
    channel.fail('the probe is over');
    writer.close();
    output.close();
  }
}
