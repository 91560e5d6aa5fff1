import { Agent, buildConnector } from 'undici';
import { type Clock, systemClock } from '../../core/clock.js';
import { type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { type HttpDispatcherOptions, resolveDispatcherOptions } from './httpOptions.js';

/** Which sockets a request goes over. */
export type Lane = 'calls' | 'replies' | 'streams';

/**
 * The sockets of the URL wires, in three lanes that never wait for each other: a call may wait for an answer of ours,
 * and a stream may stay open for ever, so neither must hold the socket that the other needs. A pool makes one and hands
 * it to all its connections; whoever made it closes it, after them.
 */
export class HttpDispatchers {
  readonly calls: Agent;
  readonly replies: Agent;
  readonly streams: Agent;
  readonly #scope: CloseScope;

  /** @throws OptionError */
  constructor(options: HttpDispatcherOptions = {}, clock: Clock = systemClock) {
    const { connectTimeoutMs, maxHeaderBytes, keepAliveMs, maxReplySockets } = resolveDispatcherOptions(options);
    const common = {
      connect: connector(connectTimeoutMs, options.tls ?? {}, clock),
      maxHeaderSize: maxHeaderBytes,
      keepAliveTimeout: keepAliveMs,
      // Times of waiting are the calls' own: see `Exchange`.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    this.calls = new Agent(common);
    this.replies = new Agent({ ...common, connections: maxReplySockets });
    this.streams = new Agent(common);
    this.#scope = new CloseScope('http dispatchers', {
      clock,
      onRelease: async () => {
        await Promise.all([this.calls.destroy(), this.replies.destroy(), this.streams.destroy()]);
      },
    });
  }

  /** Ends every socket at once; requests on them fail. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** undici's own timeout of connecting stands on a clock of half a second that outlives its sockets. */
function connector(timeoutMs: number, tls: object, clock: Clock): buildConnector.connector {
  const connect = buildConnector({ ...tls, timeout: 0 } as buildConnector.BuildOptions) as (
    options: buildConnector.Options,
    callback: buildConnector.Callback,
  ) => { destroy(error: Error): void };
  return (options, callback) => {
    const timer = clock.setTimer(
      () => socket.destroy(new Error(`no connection to ${options.hostname} within ${timeoutMs} ms`)),
      timeoutMs,
      { ref: true },
    );
    const socket = connect(options, (...result) => {
      timer.cancel();
      callback(...result);
    });
  };
}
