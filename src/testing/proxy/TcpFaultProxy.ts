import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock, type Timer } from '../../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { OptionError } from '../../core/errors.js';
import { checkCount, checkText, withDefaults } from '../../core/options.js';
import { withoutSecrets } from '../../core/text/withoutSecrets.js';
import { planState } from '../fake/planState.js';
import { EventLog, type FaultLogOptions } from '../faults/EventLog.js';
import type { KitEvent } from '../faults/events.js';
import { FaultPlan, type FaultPlanOptions, type Injection } from '../faults/FaultPlan.js';
import { faultEvent } from '../faults/faultEvent.js';
import { TCP_EXCHANGE } from '../faults/table/spec.js';
import { resetSocket } from '../wire/tcp/resetSocket.js';
import { TcpLink } from '../wire/tcp/TcpLink.js';

export interface TcpFaultProxyOptions extends FaultLogOptions {
  /** Where the server is: `tcp://host:port`, or `host:port`. */
  readonly upstream: string;
  /** What goes wrong: a plan, or what makes one. @defaultValue nothing */
  readonly plan?: FaultPlan | FaultPlanOptions;
  /** The server's name, for events and for rules with a `server`. @defaultValue 'server' */
  readonly name?: string;
  /** The port; 0 picks a free one. @defaultValue 0 */
  readonly port?: number;
  /** The address. @defaultValue '127.0.0.1' */
  readonly host?: string;
  /** A file that keeps how far the plan is, so that a restarted proxy goes on from there. @defaultValue none */
  readonly stateFile?: string;
  /** Measures time and arms timers. @defaultValue the system's clock */
  readonly clock?: Clock;
}

const SLOW_START_MS = 500;

/**
 * A TCP proxy in front of Redis, a database or anything else: bytes pass as they came, but for what its plan says of
 * connections (`refuse`, `slowStart`) and exchanges (`latency`, `bandwidth`, `resetPeer`, …: the faults whose wire is
 * `tcp`). `down` and `up` take the whole server away and bring it back.
 */
export class TcpFaultProxy implements Closeable, AsyncDisposable {
  readonly plan: FaultPlan;
  readonly name: string;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #host: string;
  readonly #clock: Clock;
  readonly #log: EventLog;
  readonly #listener: Server;
  readonly #links = new Set<TcpLink>();
  readonly #scope: CloseScope;
  readonly #pending = new Map<Timer, () => void>();
  #port: number;
  #refusing: Timer | undefined;

  /** Resolves when it listens. @throws OptionError; the system's error when it cannot listen */
  static async listen(options: TcpFaultProxyOptions): Promise<TcpFaultProxy> {
    const proxy = new TcpFaultProxy(options);
    await proxy.up();
    return proxy;
  }

  private constructor(options: TcpFaultProxyOptions) {
    const others = {
      upstream: true,
      plan: true,
      stateFile: true,
      onEvent: true,
      eventsFile: true,
      maxEvents: true,
    } as const;
    const defaults = { name: 'server', port: 0, host: '127.0.0.1', clock: systemClock };
    const settings = withDefaults('TcpFaultProxy', options, defaults, { ...others, logger: true });
    this.name = checkText('name', settings.name);
    this.#port = checkCount('port', settings.port, { max: 65_535 });
    this.#host = checkText('host', settings.host);
    this.#target = targetOf(settings.upstream);
    this.#clock = settings.clock;
    const { plan = {}, stateFile, logger } = settings;
    this.plan = plan instanceof FaultPlan ? plan : new FaultPlan(plan, planState(stateFile, logger));
    this.#log = new EventLog(settings);
    this.#listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => void this.#open(client));
    this.#scope = new CloseScope(`TCP fault proxy in front of ${settings.upstream}`, {
      clock: this.#clock,
      onRelease: () => this.#away(),
    });
  }

  get port(): number {
    return this.#port;
  }

  get host(): string {
    return this.#host;
  }

  /** Where clients find it: `tcp://host:port`. */
  get url(): string {
    return `tcp://${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.#port}`;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#links.size;
  }

  /** What went wrong, oldest first. */
  get events(): readonly KitEvent[] {
    return this.#log.events;
  }

  /** Resets every connection that is open; new ones are taken. */
  reset(): void {
    for (const link of [...this.#links]) link.reset();
  }

  /** The server is gone: every connection is reset, and new ones are refused until `up`. */
  async down(): Promise<void> {
    this.#scope.assertOpen();
    await this.#away();
  }

  /** The server is there again, on the same port. */
  async up(): Promise<void> {
    this.#scope.assertOpen();
    this.#refusing?.cancel();
    if (this.#listener.listening) return;
    this.#listener.listen(this.#port, this.#host);
    await once(this.#listener, 'listening');
    this.#port = (this.#listener.address() as AddressInfo).port;
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #away(): Promise<void> {
    this.#refusing?.cancel();
    const closed = this.#listener.listening ? once(this.#listener, 'close') : undefined;
    this.#listener.close();
    for (const [timer, drop] of this.#pending) {
      timer.cancel();
      drop();
    }
    this.#pending.clear();
    this.reset();
    await closed;
  }

  async #open(client: Socket): Promise<void> {
    client.on('error', () => undefined);
    const start = this.#told(this.plan.nextStart({ server: this.name, wire: 'tcp' }));
    if (start?.fault === 'refuse') {
      resetSocket(client);
      return;
    }
    // Nothing is read until there is a server to read it.
    client.pause();
    if (start?.fault === 'slowStart') await this.#pause(start.delayMs ?? SLOW_START_MS, client);
    if (client.destroyed) return;
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    const link = new TcpLink({
      client,
      server,
      clock: this.#clock,
      delayMs: this.plan.delayMs,
      nextExchange: () => this.#told(this.plan.next({ server: this.name, method: TCP_EXCHANGE, wire: 'tcp' })),
      refuse: (ms) => this.#refuse(ms),
    });
    this.#links.add(link);
    client.once('close', () => this.#links.delete(link));
    client.resume();
  }

  #pause(ms: number, client: Socket): Promise<void> {
    return new Promise((resolve) => {
      const drop = (): void => {
        resetSocket(client);
        resolve();
      };
      const timer = this.#clock.setTimer(() => {
        this.#pending.delete(timer);
        resolve();
      }, ms);
      this.#pending.set(timer, drop);
    });
  }

  #told(injection: Injection | undefined): Injection | undefined {
    if (injection !== undefined) this.#log.tell(faultEvent(injection));
    return injection;
  }

  #refuse(ms: number): void {
    void this.#away();
    const again = (): void => {
      // What cannot listen again shows as a server that is gone.
      if (!this.#scope.closing) this.up().catch(() => undefined);
    };
    // Nothing else may hold the process meanwhile.
    this.#refusing = this.#clock.setTimer(again, ms, { ref: true });
  }
}

function targetOf(upstream: unknown): { host: string; port: number } {
  const expected = "an address such as 'tcp://127.0.0.1:6379'";
  if (typeof upstream !== 'string') throw new OptionError('upstream', upstream, expected);
  const text = upstream.includes('://') ? upstream : `tcp://${upstream}`;
  const { protocol = '', hostname = '', port = '' } = URL.canParse(text) ? new URL(text) : {};
  if (protocol !== 'tcp:' || hostname === '' || port === '')
    throw new OptionError('upstream', withoutSecrets(upstream), expected);
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}
