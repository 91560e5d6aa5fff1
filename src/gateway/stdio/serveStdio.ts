import type { Server } from 'node:http';
import { type Duplex, duplexPair, type Readable, type Writable } from 'node:stream';
import { OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { checkMs, checkText, withDefaults } from '../../core/options.js';
import type { Admission } from '../users/Admission.js';
import type { User } from '../users/Authenticate.js';
import { StdioBridge } from './StdioBridge.js';

export interface StdioFrontOptions {
  /** Where the client's messages come from. @defaultValue process.stdin */
  readonly input?: Readable;
  /** Where messages to the client go; nothing else may be written there. @defaultValue process.stdout */
  readonly output?: Writable;
  /** What is served: `/mcp` for all servers together, `/servers/<name>/mcp` for one. @defaultValue '/mcp' */
  readonly path?: string;
  /**
   * Who the client is: it cannot say so itself. Needed where the gateway has `authenticate`, which is not asked about it.
   * @defaultValue none: like any client without a name
   */
  readonly user?: User;
  /** How long calls in flight may still take when the client has closed its end, in ms, from 0. @defaultValue 2000 */
  readonly graceMs?: number;
}

export const STDIO_FRONT_DEFAULTS = Object.freeze({ path: '/mcp', graceMs: 2_000 });

/** What the gateway gives. */
export interface StdioFrontHost {
  readonly server: Server;
  /** Says who comes in over the network; undefined where all may. */
  readonly admission: Admission | undefined;
  readonly maxBodyBytes: number;
  readonly maxStreamBufferBytes: number;
  readonly maxBufferedBytes: number;
  readonly stallTimeoutMs: number;
  readonly onDrop: () => void;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/**
 * Serves one client over two pipes, until it closes its end, takes nothing for `stallTimeoutMs`, or the gateway closes. Its requests take the way of all others, over
 * connections that never leave the process. @throws OptionError
 */
export function serveStdio(host: StdioFrontHost, given: StdioFrontOptions): Promise<void> {
  const { path, graceMs, input, output, user } = withDefaults('serveStdio', given, STDIO_FRONT_DEFAULTS, {
    input: true,
    output: true,
    user: true,
  });
  checkMs('graceMs', graceMs);
  if ((user === undefined) !== (host.admission === undefined)) {
    const expected =
      user === undefined ? 'who the client is, since the gateway has authenticate' : 'none without authenticate';
    throw new OptionError('user', user, expected);
  }
  if (user !== undefined) checkText('user.principal', user.principal);
  if (!checkText('path', path).startsWith('/')) throw new OptionError('path', path, 'a path, such as /mcp');
  const { server, admission, maxBodyBytes, maxStreamBufferBytes, maxBufferedBytes, stallTimeoutMs } = host;
  const { onDrop, signal, logger } = host;
  const bridge = new StdioBridge({
    input: input ?? process.stdin,
    output: output ?? process.stdout,
    url: new URL(path, 'http://localhost'),
    connect: () => {
      const [ours, theirs] = connectedPair();
      if (user !== undefined) admission?.trust(theirs, user);
      server.emit('connection', asSocket(theirs));
      return ours;
    },
    maxMessageBytes: maxBodyBytes,
    maxStreamBufferBytes,
    maxBufferedBytes,
    stallTimeoutMs,
    graceMs,
    onDrop,
    signal,
    logger,
  });
  return bridge.run();
}

/** Both ends of a connection. Of one that is destroyed Node 20 tells the other nothing: a call that is given up would go on for ever. */
function connectedPair(): [Duplex, Duplex] {
  const [ours, theirs] = duplexPair();
  ours.once('close', () => theirs.destroy());
  theirs.once('close', () => ours.destroy());
  return [ours, theirs];
}

/** Node's server ends a connection by what sockets have and other streams lack. */
function asSocket(stream: Duplex): Duplex {
  const destroySoon = (): void => {
    if (stream.writableFinished) stream.destroy();
    else stream.end(() => stream.destroy());
  };
  // A client that reads nothing is the pipe's own business.
  return Object.assign(stream, { destroySoon, setTimeout: () => stream });
}
