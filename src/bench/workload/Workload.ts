import { OptionError } from '../../core/errors.js';
import { type ClosedModel, describeModel, type Model } from '../load/models.js';
import type { Stream } from '../load/runStream.js';
import type { Target, TargetSettings } from '../target/Target.js';
import { type Arguments, type ChosenTool, chooseTool } from './chooseTool.js';
import type { Scenario } from './Scenario.js';
import {
  churnStream,
  coldStream,
  fairnessStreams,
  headOfLineStreams,
  listStream,
  progressStream,
  scenarioStreams,
  toolStream,
} from './streams.js';
import { compileTemplate } from './template.js';

/** A tool and its arguments, both made up when left out. */
export interface ToolChoice {
  readonly tool?: string;
  readonly args?: Arguments;
}

/** What is done again and again. Plain data, so that workers can be told of it. */
export type Workload =
  | ({ readonly kind: 'tool' | 'progress' | 'sessions' | 'cold' } & ToolChoice)
  /** So many bytes of text both ways: the tool must echo one of its arguments. */
  | ({ readonly kind: 'payload'; readonly bytes: number } & ToolChoice)
  | { readonly kind: 'lists' }
  | { readonly kind: 'scenario'; readonly scenario: Scenario }
  /** `slowInFlight` slow calls all the time; 0 gives the figure without them. */
  | {
      readonly kind: 'head-of-line';
      readonly fast: ToolChoice;
      readonly slow: ToolChoice;
      readonly slowInFlight: number;
    }
  /** One caller with all of the concurrency beside `light` callers with one call each. */
  | ({ readonly kind: 'fairness'; readonly light: number } & ToolChoice);

/** The workload in a few words, for tables. */
export function describeWorkload(workload: Workload): string {
  switch (workload.kind) {
    case 'tool':
      return workload.tool ?? 'tool';
    case 'payload':
      return `payload ${bytesText(workload.bytes)}`;
    case 'scenario':
      return workload.scenario.name;
    case 'head-of-line':
      return `${workload.fast.tool ?? 'fast'} beside ${workload.slowInFlight} ${workload.slow.tool ?? 'slow'}`;
    case 'fairness':
      return `1 heavy beside ${workload.light} light`;
    default:
      return workload.kind;
  }
}

/** Sessions the workload needs, beyond what was asked for. */
export function settingsFor(workload: Workload, settings: TargetSettings): TargetSettings {
  if (workload.kind === 'fairness') return { ...settings, sessions: workload.light + 1 };
  // Visits have keys of their own: the target must be opened with one connection per key.
  if (workload.kind === 'sessions') return { ...settings, sessions: Math.max(256, settings.sessions ?? 0) };
  return settings;
}

/** The streams of a workload under a model, its tools tried once before. Errors as `chooseTool`. */
export async function makeStreams(
  target: Target,
  workload: Workload,
  model: Model,
  signal?: AbortSignal,
): Promise<Stream[]> {
  switch (workload.kind) {
    case 'tool':
      return [toolStream(target, await chooseTool(target, workload.tool, workload.args, signal), model)];
    case 'payload':
      return [toolStream(target, await payloadTool(target, workload, signal), model, describeWorkload(workload))];
    case 'progress':
      return [progressStream(target, await chooseTool(target, workload.tool, workload.args, signal), model)];
    case 'lists':
      return [await listStream(target, model, signal)];
    case 'sessions':
      return [churnStream(target, await chooseTool(target, workload.tool, workload.args, signal), model)];
    case 'cold':
      return [coldStream(target, await chooseTool(target, workload.tool, workload.args, signal), model)];
    case 'scenario':
      return scenarioStreams(target, workload.scenario, signal);
    case 'head-of-line': {
      const fast = await chooseTool(target, workload.fast.tool, workload.fast.args, signal);
      const slow = await chooseTool(target, workload.slow.tool, workload.slow.args, signal);
      const sizes = { fast: closed(workload, model).concurrency, slow: workload.slowInFlight };
      return headOfLineStreams(target, fast, slow, sizes);
    }
    case 'fairness': {
      const chosen = await chooseTool(target, workload.tool, workload.args, signal);
      return fairnessStreams(target, chosen, { heavy: closed(workload, model).concurrency, light: workload.light });
    }
  }
}

function closed(workload: Workload, model: Model): ClosedModel {
  if (model.model === 'closed') return model;
  throw new OptionError('rate', describeModel(model), `no rate: the workload '${workload.kind}' has a closed model`);
}

/** The chosen tool with the payload behind the nonce. */
async function payloadTool(
  target: Target,
  { tool, args, bytes }: ToolChoice & { readonly bytes: number },
  signal?: AbortSignal,
) {
  const chosen = await chooseTool(target, tool, args, signal);
  const [name] =
    Object.entries(chosen.args).find(([, value]) => typeof value === 'string' && value.includes('{{nonce}}')) ?? [];
  if (name === undefined)
    throw new OptionError(
      'args',
      JSON.stringify(chosen.args),
      'one text with {{nonce}} in it, to put the payload behind',
    );
  const larger = { ...chosen.args, [name]: `${String(chosen.args[name])}{{payload:${bytes}}}` };
  return { ...chosen, args: larger, fill: compileTemplate(larger) as ChosenTool['fill'] };
}

export function bytesText(bytes: number): string {
  if (bytes >= 2 ** 20) return `${round(bytes / 2 ** 20)} MiB`;
  return bytes >= 1_024 ? `${round(bytes / 1_024)} KiB` : `${bytes} B`;
}

const round = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
