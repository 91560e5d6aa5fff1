import type { Readable, Writable } from 'node:stream';
import { type Closeable, type CloseOptions, CloseScope } from '../../core/close/CloseScope.js';
import { StartError } from '../../core/errors.js';
import type { KitEvent } from '../faults/events.js';
import type { FaultPlan, Injection } from '../faults/FaultPlan.js';
import { faultEvent } from '../faults/faultEvent.js';
import type { FaultWire } from '../faults/table/spec.js';
import { parseMessage } from '../wire/messages.js';
import { LineWire, type ProcessHand } from '../wire/stdio/LineWire.js';
import { FakeCore } from './FakeCore.js';
import { type FakeServerOptions, type FakeTool, fakeServerSettings } from './FakeServerOptions.js';
import { FakeSession } from './FakeSession.js';
import { FakeHttp } from './http/FakeHttp.js';
import type { FakeHttpOptions } from './http/FakeHttpOptions.js';

/**
 * An MCP server for tests: tools, resources and prompts as its options say, of both eras, over stdio, Streamable HTTP
 * and SSE, in which calls and starts go wrong as its plan says. What it sees and does are its `events`.
 */
export class FakeServer implements Closeable, AsyncDisposable {
  readonly #core: FakeCore;
  readonly #scope: CloseScope;
  readonly #wires = new Set<() => void>();
  #connections = 0;

  /** @throws OptionError */
  constructor(options: FakeServerOptions = {}) {
    this.#core = new FakeCore(fakeServerSettings(options));
    this.#scope = new CloseScope(`fake server ${this.#core.settings.name}`, {
      onRelease: () => {
        for (const end of [...this.#wires]) end();
        this.#core.finish();
      },
    });
  }

  get name(): string {
    return this.#core.settings.name;
  }

  get plan(): FaultPlan {
    return this.#core.plan;
  }

  /** What it saw and did, and what went wrong, oldest first. */
  get events(): readonly KitEvent[] {
    return this.#core.events;
  }

  /** Adds a tool or replaces one, and tells every client. */
  addTool(name: string, tool: FakeTool = {}): void {
    this.#core.tools.set(name, tool);
    this.#core.changed('notifications/tools/list_changed');
  }

  /** Takes a tool away and tells every client. */
  removeTool(name: string): void {
    this.#core.tools.delete(name);
    this.#core.changed('notifications/tools/list_changed');
  }

  /**
   * Serves one client over a pair of streams, as a stdio server does; `hand` is what faults do to its process, where it
   * has one. @throws StartError when the plan refuses the start
   */
  serve(input: Readable, output: Writable, hand: ProcessHand = streamHand(output)): Disposable {
    this.#scope.assertOpen();
    const start = this.nextStart('stdio');
    if (start?.fault === 'refuse') {
      const { exitCode = 3 } = start.settings;
      hand.stderr('the fault plan refused it\n');
      hand.end({ exitCode, why: 'the fault plan refused it' });
      throw new StartError(this.name, 'the fault plan refused it', { exitCode });
    }
    const session = new FakeSession(this.#core, `${process.pid}.${++this.#connections}`, (text) =>
      wire.fromServer(parseMessage(text) ?? {}, text),
    );
    const watch = this.#core.onChange((method) => session.notify(method));
    const end = (): void => {
      this.#wires.delete(end);
      watch[Symbol.dispose]();
      session.close();
      wire.close();
    };
    const wire: LineWire = new LineWire({
      server: this.name,
      plan: this.plan,
      input,
      output,
      hand,
      toServer: (message, call) => session.receive(message, call),
      onFault: this.#core.tell,
      onEnd: end,
    });
    this.#wires.add(end);
    wire.begin(start);
    return { [Symbol.dispose]: end };
  }

  /** Serves Streamable HTTP at `/mcp` and the older HTTP+SSE at `/sse`, on loopback. Resolves when it listens. */
  async listen(options: FakeHttpOptions = {}): Promise<FakeHttp> {
    this.#scope.assertOpen();
    const http = await FakeHttp.listen(this.#core, (wire) => this.nextStart(wire), options);
    this.#scope.own('http', http);
    return http;
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal The client has gone for good: what a recording has and did not come is told. */
  finish(): void {
    this.#core.finish();
  }

  /** @internal What befalls a start, told as an event. */
  nextStart(wire: FaultWire): Injection | undefined {
    const start = this.plan.nextStart({ server: this.name, wire });
    if (start === undefined) return undefined;
    this.#core.tell(faultEvent(start));
    return start;
  }
}

/** A server in memory has no process: what would end one ends its output. */
function streamHand(output: Writable): ProcessHand {
  return {
    end: () => void output.destroy(),
    stderr: () => undefined,
    closeOutput: () => void output.end(),
  };
}

/** A fake server: see `FakeServer`. @throws OptionError */
export function fakeServer(options: FakeServerOptions = {}): FakeServer {
  return new FakeServer(options);
}
