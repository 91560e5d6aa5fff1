import { messageOf, OptionError } from '../../core/errors.js';
import { MAX_RECORDING_BYTES, readWholeSync } from '../../core/files/readWhole.js';
import type { Logger } from '../../core/logger.js';
import { checkBoolean, checkCount, checkOneOf, checkRecord, checkText, withDefaults } from '../../core/options.js';
import type { KitEvent } from '../faults/events.js';
import type { FaultPlan, FaultPlanOptions } from '../faults/FaultPlan.js';
import { type Latency, SETTINGS } from '../faults/settings.js';
import { History } from '../history/History.js';
import type { HistoryEvent } from '../history/HistoryEvent.js';

/** What a tool's own function is given. */
export interface FakeToolContext {
  /** Aborts when the call is cancelled. */
  readonly signal: AbortSignal;
  /** Sends progress, when the caller asked for it. */
  progress(progress: number, total?: number): void;
  /** Sends a notification about this call. */
  notify(method: string, params?: Readonly<Record<string, unknown>>): void;
  /** Asks the client, and resolves to its answer. In the modern era the tool is run again for it, from its start: `ask` rejects meanwhile. */
  ask(method: string, params?: Readonly<Record<string, unknown>>): Promise<unknown>;
}

/** One tool. Without `text` and `call` it echoes the argument `text`, else its arguments as JSON. */
export interface FakeTool {
  /** What it says of itself. @defaultValue none */
  readonly description?: string;
  /** Its input schema. @defaultValue any object */
  readonly inputSchema?: Readonly<Record<string, unknown>>;
  /** How long a call takes, in ms. @defaultValue the server's `serviceMs` */
  readonly serviceMs?: Latency;
  /** What it always answers. @defaultValue it echoes */
  readonly text?: string;
  /** Whether the answer says `isError`. @defaultValue false */
  readonly isError?: boolean;
  /** Progress notifications, spread over its time. @defaultValue 0 */
  readonly steps?: number;
  /** A request it makes of the client before it answers; its answer is the reply as JSON. @defaultValue none */
  readonly asks?: string;
  /** Its own work: resolves to a result, or to the text of one; an `RpcError` is the error that is answered. Not for a server in a process of its own. @defaultValue none */
  readonly call?: (args: Readonly<Record<string, unknown>>, context: FakeToolContext) => unknown;
}

export interface FakeServerOptions {
  /** Its name, for events and for rules with a `server`. @defaultValue 'fake' */
  readonly name?: string;
  /** Tools by name. @defaultValue `echo`, `sleep` (whose argument `ms` is its time), `progress`, `ask`, `fail` */
  readonly tools?: Readonly<Record<string, FakeTool>>;
  /** Resources: texts by URI. @defaultValue none */
  readonly resources?: Readonly<Record<string, string>>;
  /** Prompts: texts by name. @defaultValue none */
  readonly prompts?: Readonly<Record<string, string>>;
  /** What goes wrong: a plan, or what makes one. @defaultValue nothing */
  readonly plan?: FaultPlan | FaultPlanOptions;
  /**
   * It answers from this recording instead of its tools: a `History` with messages, or a file of one. Each call that acts is
   * played once; one that is not there, or differs, gets an error, and a `divergence` event says where. @defaultValue none
   */
  readonly replay?: History | string;
  /** The eras it speaks. @defaultValue 'both' */
  readonly era?: 'legacy' | 'modern' | 'both';
  /** The capabilities it announces; what it does not announce it does all the same. @defaultValue those of all it can do */
  readonly capabilities?: Readonly<Record<string, unknown>>;
  /** How long each call takes, in ms, where its tool does not say. @defaultValue 0 */
  readonly serviceMs?: Latency;
  /** Entries of a page of a list, from 1; `Infinity`: one page. @defaultValue Infinity */
  readonly pageSize?: number;
  /** How answers come over Streamable HTTP: one JSON body, or an event stream. @defaultValue 'json' */
  readonly answers?: 'json' | 'events';
  /** Whether legacy clients over Streamable HTTP get a session. @defaultValue true */
  readonly sessions?: boolean;
  /** Told of each effect and fault. @defaultValue none */
  readonly onEvent?: (event: KitEvent) => void;
  /** A file to which each event is appended as a line of JSON, at once. @defaultValue none */
  readonly eventsFile?: string;
  /** A file that keeps how far the plan is, so that a restarted process goes on from there. @defaultValue none */
  readonly stateFile?: string;
  /** Events kept in `events`, from 0; beyond that the oldest go. @defaultValue 10000 */
  readonly maxEvents?: number;
  /** Told of an `onEvent` that throws, and of a file that cannot be written. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

export const FAKE_SERVER_DEFAULTS = Object.freeze({
  name: 'fake',
  resources: Object.freeze({}),
  prompts: Object.freeze({}),
  era: 'both' as const,
  capabilities: Object.freeze({
    tools: Object.freeze({ listChanged: true }),
    resources: Object.freeze({ subscribe: true, listChanged: true }),
    prompts: Object.freeze({ listChanged: true }),
    logging: Object.freeze({}),
    completions: Object.freeze({}),
  }) as Readonly<Record<string, unknown>>,
  serviceMs: 0 as Latency,
  pageSize: Number.POSITIVE_INFINITY,
  answers: 'json' as const,
  sessions: true,
  maxEvents: 10_000,
});

const TOOLS: Readonly<Record<string, FakeTool>> = Object.freeze({
  echo: { description: 'Answers with its text.' },
  sleep: { description: 'Answers after `ms`.', text: 'slept' },
  progress: { description: 'Answers after some progress.', text: 'done', steps: 3 },
  ask: { description: 'Asks the client to sample before it answers.', asks: 'sampling/createMessage' },
  fail: { description: 'Answers with an error.', text: 'it failed', isError: true },
});

/** With all defaults, checked. @throws OptionError */
export function fakeServerSettings(options: FakeServerOptions) {
  const others = {
    tools: true,
    plan: true,
    replay: true,
    onEvent: true,
    eventsFile: true,
    stateFile: true,
    logger: true,
  } as const;
  const settings = withDefaults('fakeServer', options, FAKE_SERVER_DEFAULTS, others);
  checkText('name', settings.name);
  checkRecord('resources', settings.resources);
  checkRecord('prompts', settings.prompts);
  checkBoolean('sessions', settings.sessions);
  checkOneOf('era', settings.era, ['legacy', 'modern', 'both']);
  checkOneOf('answers', settings.answers, ['json', 'events']);
  SETTINGS.delayMs.check('serviceMs', settings.serviceMs);
  checkCount('pageSize', settings.pageSize, { min: 1, infinity: true });
  checkCount('maxEvents', settings.maxEvents);
  if (typeof settings.capabilities !== 'object' || settings.capabilities === null)
    throw new OptionError('capabilities', settings.capabilities, 'an object, such as { tools: {} }');
  const { tools = TOOLS } = settings;
  // A number would be read as a descriptor, which may wait for ever.
  if (typeof settings.replay !== 'object') checkText('replay', settings.replay ?? 'none');
  if (settings.stateFile !== undefined) checkText('stateFile', settings.stateFile);
  if (settings.eventsFile !== undefined) checkText('eventsFile', settings.eventsFile);
  for (const [name, tool] of Object.entries(checkRecord('tools', tools))) {
    if (typeof tool !== 'object' || tool === null)
      throw new OptionError(`tools.${name}`, tool, 'an object, such as {}');
    const known = {
      description: true,
      inputSchema: true,
      serviceMs: true,
      text: true,
      isError: true,
      steps: true,
      asks: true,
      call: true,
    } as const;
    withDefaults(`tools.${name}`, tool, {}, known);
    if (tool.serviceMs !== undefined) SETTINGS.delayMs.check(`tools.${name}.serviceMs`, tool.serviceMs);
    if (tool.steps !== undefined) checkCount(`tools.${name}.steps`, tool.steps, { max: 100_000 });
  }
  return { ...settings, tools };
}

/** The recording, read. @throws OptionError */
export function readRecording(replay: History | string): readonly HistoryEvent[] {
  if (replay instanceof History) return replay.events;
  let text: string;
  try {
    text = readWholeSync(replay, MAX_RECORDING_BYTES);
  } catch (error) {
    throw new OptionError('replay', replay, `a file that can be read: ${messageOf(error)}`, error);
  }
  return History.parse(text).events;
}

export type FakeServerSettings = ReturnType<typeof fakeServerSettings>;
