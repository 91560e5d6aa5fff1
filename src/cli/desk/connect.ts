import { messageOf } from '../../core/errors.js';
import { HttpLink } from '../../gateway/stdio/HttpLink.js';
import { StdioBridge } from '../../gateway/stdio/StdioBridge.js';
import { complain } from '../output/complain.js';
import { whenParentIsGone } from '../parent.js';
import { GatewayStarter } from './GatewayStarter.js';
import { OwnAgent } from './OwnAgent.js';
import { Presence } from './Presence.js';

export interface ConnectOptions {
  readonly start?: boolean;
  readonly config?: string;
  readonly lingerMs: number;
  readonly header: Readonly<Record<string, string>>;
}

/** How often the gateway is asked whether it is there: that also keeps a connection, by which it knows of its client. */
const PRESENCE_MS = 20_000;
const MAX_MESSAGE_BYTES = 4 * 1_024 * 1_024;
const MAX_STREAM_BUFFER_BYTES = 1_024 * 1_024;
const MAX_BUFFERED_BYTES = 64 * 1_024 * 1_024;
const GRACE_MS = 2_000;
const STALL_TIMEOUT_MS = 30_000;

/** `mcp-poolkit connect`: resolves when its client has closed its end, its parent is gone or a signal came. */
export async function connect(url: URL, options: ConnectOptions): Promise<void> {
  const { header: headers, start = false, config, lingerMs } = options;
  const stop = new AbortController();
  const onStop = (): void => stop.abort(new Error('stopped'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, onStop);
  const parent = whenParentIsGone(onStop);
  try {
    if (start && config === undefined) throw new Error('--start needs --config: what is the gateway to serve?');
    const starter = start && config !== undefined ? new GatewayStarter(url, config, lingerMs) : undefined;
    // A gateway that is started at need is this user's own: nothing is sent to what another user has put in its place.
    const own = () => (start ? { agent: new OwnAgent({ keepAlive: true, keepAliveMsecs: 30_000 }) } : {});
    const link = new HttpLink({ url, headers, ...own() });
    const bridge = new StdioBridge({
      input: process.stdin,
      output: process.stdout,
      url,
      link,
      ...(starter && { revive: (signal) => starter.start(signal) }),
      maxMessageBytes: MAX_MESSAGE_BYTES,
      maxStreamBufferBytes: MAX_STREAM_BUFFER_BYTES,
      maxBufferedBytes: MAX_BUFFERED_BYTES,
      stallTimeoutMs: STALL_TIMEOUT_MS,
      graceMs: GRACE_MS,
      signal: stop.signal,
    });
    using _presence = new Presence({ url, headers, calls: link, everyMs: PRESENCE_MS, ...own() });
    await bridge.run();
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  }
  parent[Symbol.dispose]();
  process.stdin.destroy();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.off(signal, onStop);
  // What a client does not read would keep this process for as long as that client lives.
  if (process.stdout.writableLength > 0) process.exit();
}
