import type { Connection, DisconnectReason } from '../../src/connection/Connection.js';
import { ConnectionEvents } from '../../src/connection/ConnectionEvents.js';
import type { ServerInfo } from '../../src/connection/protocol/messages.js';
import {
  NotSentError,
  OutcomeUnknownError,
  ProtocolError,
  StartError,
  UnauthorizedError,
} from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import type { Connector, ConnectRequest } from '../../src/pool/connectors/Connector.js';
import type { ServerConfig, SingleServerConfig } from '../../src/registry/config/ServerConfig.js';

export type Transport = 'stdio' | 'http' | 'sse';

/** What answers at an address: its wire, or nothing. */
export type Speaks = Transport | 'nothing';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A server that answers over `speaks`, configured as `transport` says. `version` makes it another one. */
export function fakeServer(
  name: string,
  speaks: Speaks,
  transport: Transport | undefined,
  version = 0,
  settings: Partial<ServerConfig> = {},
): ServerConfig {
  const target =
    transport === 'stdio'
      ? { transport, command: `${speaks}-${version}` }
      : { ...(transport && { transport }), url: `http://${speaks}-${version}/` };
  return { name, ...target, ...settings } as ServerConfig;
}

const addressOf = (config: SingleServerConfig): string =>
  config.transport === 'stdio' ? config.command : new URL(config.url).host;

/** Which server answered, over what. */
export interface FakeAnswer {
  readonly name: string;
  readonly wire: Transport;
  readonly address: string;
}

/** Where connections without wires live. */
export class FakeNet {
  readonly live = new Set<FakeConnection>();
  /** Names and wires of the starts so far. */
  readonly starts: string[] = [];
  /** What every start waits for. */
  #gate: Promise<void> = Promise.resolve();

  /** All connections of a server die. */
  kill(name: string): void {
    for (const connection of [...this.live]) if (connection.server === name) connection.die(false);
  }

  /** Holds every start up that begins from now on, until the result is called. */
  hold(): () => void {
    let release = (): void => undefined;
    this.#gate = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  async delay(signal?: AbortSignal): Promise<void> {
    await turn();
    if (signal === undefined) return;
    signal.throwIfAborted();
    await Promise.race([
      this.#gate,
      new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true })),
    ]);
    signal.throwIfAborted();
  }
}

class FakeConnection implements Connection {
  readonly server: string;
  readonly pid = undefined;
  readonly startedAt = 1;
  readonly counters = { calls: 0, lateReplies: 0, garbage: 0, orphanRequests: 0, callbackErrors: 0 };
  readonly unsentBytes = 0;
  readonly info: ServerInfo;
  readonly #net: FakeNet;
  readonly #answer: FakeAnswer;
  readonly #events: ConnectionEvents;
  readonly #pending = new Set<(error: unknown) => void>();

  constructor(net: FakeNet, answer: FakeAnswer) {
    this.server = answer.name;
    this.#net = net;
    this.#answer = answer;
    this.#events = new ConnectionEvents(answer.name, silentLogger);
    const serverInfo = { name: answer.address, version: '1' };
    this.info = { era: 'legacy', protocolVersion: '2025-11-25', capabilities: {}, serverInfo, instructions: undefined };
    net.live.add(this);
  }

  get alive(): boolean {
    return this.#events.death === undefined;
  }
  get inFlight(): number {
    return this.#pending.size;
  }

  request(method: string): Promise<unknown> {
    if (!this.alive) return Promise.reject(new NotSentError(this.server, 'it is dead'));
    this.counters.calls++;
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new OutcomeUnknownError(this.server, method, 'it died'));
      this.#pending.add(fail);
      void this.#net.delay().then(() => {
        this.#pending.delete(fail);
        resolve(this.#answer);
      });
    });
  }

  notify(): Promise<void> {
    return this.#net.delay();
  }

  onClose(listener: (death: DisconnectReason) => void): Disposable {
    return this.#events.onClose(listener);
  }
  onNotification(listener: Parameters<Connection['onNotification']>[0]): Disposable {
    return this.#events.onNotification(listener);
  }
  setRequestHandler(handler: Parameters<Connection['setRequestHandler']>[0]): void {
    this.#events.setRequestHandler(handler);
  }

  die(expected: boolean): void {
    if (!this.#events.die({ expected, why: expected ? 'closed' : 'killed' })) return;
    this.#net.live.delete(this);
    for (const fail of this.#pending) fail(undefined);
    this.#pending.clear();
    this.#events.tellDeath();
  }

  async close(): Promise<void> {
    this.die(true);
    await this.#net.delay();
  }
}

export class FakeConnector implements Connector {
  readonly transports: readonly Transport[];
  /** How often it was closed. */
  closes = 0;
  readonly #wire: Transport;
  readonly #net: FakeNet;

  constructor(wire: Transport, net: FakeNet) {
    this.transports = [wire];
    this.#wire = wire;
    this.#net = net;
  }

  attributes(): boolean {
    return this.#wire === 'http';
  }

  /** `mallory` is let in nowhere. */
  async connect({ config, signal, caller }: ConnectRequest): Promise<Connection> {
    const { name } = config;
    const address = addressOf(config);
    this.#net.starts.push(`${name} ${this.#wire}`);
    await this.#net.delay(signal);
    const refusal = this.#refusal(name, address, caller?.principal);
    if (refusal !== undefined) throw new StartError(name, refusal.message, {}, refusal);
    return new FakeConnection(this.#net, { name, wire: this.#wire, address });
  }

  #refusal(name: string, address: string, principal: string | undefined): Error | undefined {
    if (address.startsWith('nothing')) return new NotSentError(name, 'nobody is there');
    if (!address.startsWith(this.#wire)) return new ProtocolError(name, 'it answered 404');
    return principal === 'mallory' ? new UnauthorizedError(name) : undefined;
  }

  /** Its connections are the pool's to end. */
  close(): Promise<void> {
    this.closes++;
    return this.#net.delay();
  }
}

/** Connectors of all three transports over one net, to be handed to a `UnifiedPool`. */
export function fakeTransports(net: FakeNet = new FakeNet()): {
  readonly net: FakeNet;
  readonly connectors: readonly FakeConnector[];
} {
  const connectors = (['stdio', 'http', 'sse'] as const).map((transport) => new FakeConnector(transport, net));
  return { net, connectors };
}
