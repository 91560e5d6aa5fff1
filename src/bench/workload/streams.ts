import type { ClosedModel, Model } from '../load/models.js';
import { type Operation, WrongAnswerError } from '../load/Operation.js';
import type { Stream } from '../load/runStream.js';
import { SERVICE_META } from '../reference/serviceTime.js';
import { Target } from '../target/Target.js';
import { checkAnswer } from './answers.js';
import { type ChosenTool, chooseTool } from './chooseTool.js';
import type { Scenario, ScenarioStream } from './Scenario.js';
import { nonceOf } from './template.js';

/** Calls of one tool, each answer checked. */
export function toolOperation(
  target: Target,
  chosen: ChosenTool,
  options: { name?: string; session?: number } = {},
): Operation {
  const { tool, fill, shape } = chosen;
  const { name = tool, session } = options;
  return {
    name,
    run: async ({ number, signal, onServed }) => {
      const filled = fill(number);
      const result = await target.callTool(tool, filled, { session: session ?? number, signal });
      checkAnswer(result, shape, nonceOf(number));
      const servedMs = (result as { _meta?: { [SERVICE_META]?: unknown } })._meta?.[SERVICE_META];
      if (typeof servedMs === 'number') onServed(servedMs);
    },
  };
}

/** One stream that calls one tool. */
export function toolStream(target: Target, chosen: ChosenTool, model: Model, name = chosen.tool): Stream {
  const operation = toolOperation(target, chosen, { name });
  return { name, model, next: () => operation };
}

/** Calls with progress: each notification counts as an event, and must come in order, before the answer. */
export function progressStream(target: Target, chosen: ChosenTool, model: Model): Stream {
  const operation: Operation = {
    name: `${chosen.tool} with progress`,
    run: async ({ number, signal, onEvent }) => {
      let [last, settled, broken] = [Number.NEGATIVE_INFINITY, false, ''];
      const onProgress = ({ progress }: { readonly progress: number }): void => {
        if (settled) broken = 'progress came after it';
        else if (progress < last) broken = `progress went back from ${last} to ${progress}`;
        last = progress;
        onEvent();
      };
      const filled = chosen.fill(number);
      const result = await target.callTool(chosen.tool, filled, { session: number, signal, onProgress });
      settled = true;
      checkAnswer(result, chosen.shape, nonceOf(number));
      if (broken !== '') throw new WrongAnswerError(broken);
      if (last === Number.NEGATIVE_INFINITY) throw new WrongAnswerError('no progress came before it');
    },
  };
  return { name: operation.name, model, next: () => operation };
}

/** Every page of `tools/list`, which must be as long as it was before the run. */
export async function listStream(target: Target, model: Model, signal?: AbortSignal): Promise<Stream> {
  const count = (await target.list(signal === undefined ? {} : { signal })).length;
  const operation: Operation = {
    name: 'tools/list',
    run: async ({ number, signal }) => {
      const tools = await target.list({ session: number, signal });
      if (tools.length !== count) throw new WrongAnswerError(`${tools.length} tools, not ${count}`);
    },
  };
  return { name: operation.name, model, next: () => operation };
}

/** Open a session, call once, leave: the target must be opened with more than one session. */
export function churnStream(target: Target, chosen: ChosenTool, model: Model): Stream {
  const operation: Operation = {
    name: 'open, call, leave',
    run: async ({ number, signal }) => {
      const filled = chosen.fill(number);
      checkAnswer(await target.visit(`visit ${number}`, chosen.tool, filled, signal), chosen.shape, nonceOf(number));
    },
  };
  return { name: operation.name, model, next: () => operation };
}

/** From nothing to the first answer and back to nothing, again and again. */
export function coldStream(target: Target, chosen: ChosenTool, model: Model): Stream {
  const operation: Operation = {
    name: 'start, call, end',
    run: async ({ number, signal }) => {
      const { start: _, ...spec } = target.spec;
      await using cold = await Target.open(spec, {}, signal);
      const filled = chosen.fill(number);
      checkAnswer(await cold.callTool(chosen.tool, filled, { signal }), chosen.shape, nonceOf(number));
    },
  };
  return { name: operation.name, model, next: () => operation };
}

/** Fast calls beside slow ones on one server: what the slow ones do to the fast ones is head-of-line blocking. */
export function headOfLineStreams(
  target: Target,
  fast: ChosenTool,
  slow: ChosenTool,
  sizes: { readonly fast: number; readonly slow: number },
): Stream[] {
  const closed = (concurrency: number): ClosedModel => ({ model: 'closed', concurrency });
  const streams = [toolStream(target, fast, closed(sizes.fast), 'fast')];
  return sizes.slow === 0 ? streams : [...streams, toolStream(target, slow, closed(sizes.slow), 'slow')];
}

/** One heavy caller (`heavy` calls in flight) beside `light` callers with one each, every caller a session of its own. */
export function fairnessStreams(target: Target, chosen: ChosenTool, sizes: { heavy: number; light: number }): Stream[] {
  const heavy = toolOperation(target, chosen, { name: 'heavy', session: 0 });
  const light = Array.from({ length: sizes.light }, (_, i) =>
    toolOperation(target, chosen, { name: 'light', session: i + 1 }),
  );
  return [
    { name: 'heavy', model: { model: 'closed', concurrency: sizes.heavy }, next: () => heavy },
    {
      name: 'light',
      model: { model: 'closed', concurrency: sizes.light },
      next: (_, caller) => light[caller % light.length] as Operation,
    },
  ];
}

/** The streams of a scenario, each kind of call tried once before. */
export async function scenarioStreams(target: Target, scenario: Scenario, signal?: AbortSignal): Promise<Stream[]> {
  return Promise.all(scenario.streams.map((stream) => scenarioStream(target, stream, signal)));
}

async function scenarioStream(
  target: Target,
  stream: ScenarioStream,
  signal: AbortSignal | undefined,
): Promise<Stream> {
  const operations = await Promise.all(
    stream.mix.map(async ({ tool, args, weight, name }) => {
      const chosen = await chooseTool(target, tool, args, signal);
      return { weight, operation: toolOperation(target, chosen, { name: name ?? tool }) };
    }),
  );
  const total = operations.reduce((sum, { weight }) => sum + weight, 0);
  return {
    name: stream.name,
    model: modelOf(stream),
    next: () => {
      let at = Math.random() * total;
      for (const { weight, operation } of operations) {
        at -= weight;
        if (at < 0) return operation;
      }
      return (operations.at(-1) as { operation: Operation }).operation;
    },
  };
}

function modelOf(stream: ScenarioStream): Model {
  const { concurrency, thinkMs, idleMs, burstMs, ratePerSec, rampTo, arrivals, maxInFlight } = stream;
  if (ratePerSec !== undefined) {
    return {
      model: 'open',
      ratePerSec,
      ...(rampTo !== undefined && { rampTo }),
      ...(arrivals !== undefined && { arrivals }),
      ...(maxInFlight !== undefined && { maxInFlight }),
    };
  }
  return {
    model: 'closed',
    concurrency: concurrency ?? 1,
    ...(thinkMs !== undefined && { thinkMs }),
    ...(idleMs !== undefined && { idleMs }),
    ...(burstMs !== undefined && { burstMs }),
  };
}
