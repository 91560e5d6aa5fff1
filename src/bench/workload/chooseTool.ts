import type { Tool } from '@modelcontextprotocol/client';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/client/validators/ajv';
import { systemClock } from '../../core/clock.js';
import { messageOf, OptionError, RpcError } from '../../core/errors.js';
import { nearNames } from '../../core/nearNames.js';
import { sleep } from '../../core/time/sleep.js';
import type { Target, TargetCall } from '../target/Target.js';
import { type AnswerShape, checkAnswer, holds, signatureOf } from './answers.js';
import { compileTemplate, hasNonce, nonceOf, unknownPlaceholder } from './template.js';

export type Arguments = Readonly<Record<string, unknown>>;

/** A tool that will be called, its arguments with placeholders, and how its answers are checked. */
export interface ChosenTool {
  readonly tool: string;
  /** Its arguments, with placeholders. */
  readonly args: Arguments;
  /** The arguments of a call, by its number. */
  readonly fill: (turn: number) => Arguments;
  readonly shape: AnswerShape;
}

/** Numbers of the calls made before the run, out of the way of the run's own. */
const PROBE_TURN = 36 ** 8;

const TOOLS_MS = 10_000;

/**
 * The tool to call: the one that was named, else `echo`, else the first whose arguments can be made up from its schema.
 * It is called twice, to see that the arguments are taken and whether answers hold the call's nonce.
 * @throws OptionError for a server without a tool to call, or that answers with errors or other than the protocol says; for a tool that
 * does not exist (with the nearest names), for arguments its schema refuses, and for a placeholder that does not exist. What else the
 * connection fails with.
 */
export async function chooseTool(
  target: Target,
  name: string | undefined,
  args: Arguments | undefined,
  signal?: AbortSignal,
): Promise<ChosenTool> {
  const call = signal === undefined ? {} : { signal };
  const { label } = target.spec;
  const tools = await toolsOf(target, call);
  if (tools.length === 0)
    throw new OptionError('target', label, 'a server with a tool to call: its tools/list has none');
  const tool = pick(tools, name);
  const template = args ?? madeUp(tool) ?? {};
  const fill = compileTemplate(template) as ChosenTool['fill'];
  const unknown = unknownPlaceholder(template);
  if (unknown !== undefined) {
    throw new OptionError(
      'args',
      unknown,
      'a placeholder that exists: {{nonce}}, {{turn}}, {{payload:BYTES}}, {{random:MIN:MAX}}',
    );
  }
  checkArguments(tool, fill(PROBE_TURN));
  const shapes: AnswerShape[] = [];
  for (const turn of [PROBE_TURN, PROBE_TURN + 1]) {
    const filled = fill(turn);
    const expected = `a server whose tool ${brief([tool.name])} answers ${brief([JSON.stringify(filled)])}`;
    const result = await target.callTool(tool.name, filled, call).catch(unlessAnswer(label, expected, HINT));
    shapes.push(shapeOf(result, { label, expected, nonce: nonceOf(turn), echo: hasNonce(template) }));
  }
  const [first, second] = shapes as [AnswerShape, AnswerShape];
  const shape = { echoes: first.echoes && second.echoes, signature: first.signature };
  return { tool: tool.name, args: template, fill, shape };
}

/** A proxy that was started for the run may answer before the servers behind it are up: it has time to list their tools. */
async function toolsOf(target: Target, call: TargetCall): Promise<readonly Tool[]> {
  const { label, start } = target.spec;
  const untilMs = systemClock.now() + (start === undefined ? 0 : TOOLS_MS);
  for (;;) {
    const listed = await target.list(call).catch(unlessAnswer(label, 'a server that answers tools/list'));
    const tools = listed.filter(isTool);
    if (tools.length > 0 || systemClock.now() >= untilMs) return tools;
    await sleep(systemClock, 100, call);
  }
}

/** Lists come from anywhere: what is no tool cannot be called. */
const isTool = (tool: unknown): tool is Tool =>
  isRecord(tool) && typeof tool['name'] === 'string' && tool['name'] !== '' && isRecord(tool['inputSchema']);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const HINT = ' (--tool and --args choose another)';

/** An error that the server answered with tells neither the server nor what was asked of it. */
const unlessAnswer =
  (label: string, expected: string, hint = '') =>
  (error: unknown): never => {
    if (!(error instanceof RpcError)) throw error;
    throw new OptionError(
      'target',
      label,
      `${expected}, not with the error ${error.rpcCode}: ${error.message}${hint}`,
      error,
    );
  };

function shapeOf(
  result: unknown,
  { label, expected, nonce, echo }: { label: string; expected: string; nonce: string; echo: boolean },
): AnswerShape {
  try {
    const shape = { echoes: echo && holds(result, nonce), signature: signatureOf(result) };
    checkAnswer(result, shape, nonce);
    return shape;
  } catch (error) {
    throw new OptionError('target', label, `${expected}, but ${messageOf(error)}${HINT}`, error);
  }
}

function pick(tools: readonly Tool[], name: string | undefined): Tool {
  const names = tools.map((tool) => tool.name);
  if (name === undefined) {
    const found = tools.find((tool) => tool.name === 'echo') ?? tools.find((tool) => madeUp(tool) !== undefined);
    if (found !== undefined) return found;
    throw new OptionError('tool', name, `the name of a tool, and --args for it; the server has ${brief(names)}`);
  }
  const found = tools.find((tool) => tool.name === name);
  if (found !== undefined) return found;
  const near = nearNames(name, names);
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `it has ${brief(names)}`;
  throw new OptionError('tool', name, `a tool of the server; ${hint}`);
}

const MAX_NAMES = 10;
const MAX_NAME = 100;

/** A few of any number of names, a part of each of any length. */
function brief(names: readonly string[]): string {
  const shown = names
    .slice(0, MAX_NAMES)
    .map((name) => (name.length > MAX_NAME ? `${name.slice(0, MAX_NAME - 1)}…` : name));
  const more = names.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

interface Property {
  readonly type?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly minimum?: number;
}

/** Arguments out of a schema's required properties, the nonce in the first text; undefined when one cannot be made. */
function madeUp(tool: Tool): Arguments | undefined {
  const schema: Readonly<Record<string, unknown>> = tool.inputSchema;
  const properties = new Map<string, Property>(
    Object.entries(isRecord(schema['properties']) ? schema['properties'] : {}).filter(
      (each): each is [string, Property] => isRecord(each[1]),
    ),
  );
  const required = Array.isArray(schema['required']) ? schema['required'].map(String) : [];
  const args: Record<string, unknown> = {};
  let nonce = false;
  for (const name of required) {
    const property = properties.get(name) ?? {};
    if (property.default !== undefined) args[name] = property.default;
    else if (Array.isArray(property.enum)) args[name] = property.enum[0];
    else if (property.type === 'string') {
      args[name] = nonce ? 'text' : '{{nonce}}';
      nonce = true;
    } else if (property.type === 'number' || property.type === 'integer') args[name] = property.minimum ?? 1;
    else if (property.type === 'boolean') args[name] = false;
    else return undefined;
  }
  if (nonce) return args;
  // Without a text that must be there, one that may be there tells answers apart.
  const [free] =
    [...properties].find(
      ([name, { type, enum: values }]) => type === 'string' && values === undefined && !Object.hasOwn(args, name),
    ) ?? [];
  return free === undefined ? args : { ...args, [free]: '{{nonce}}' };
}

function checkArguments(tool: Tool, args: unknown): void {
  const { valid, errorMessage } = validated(tool, args);
  if (!valid)
    throw new OptionError('args', JSON.stringify(args), `what the schema of ${tool.name} takes: ${errorMessage}`);
}

function validated({ name, inputSchema }: Tool, args: unknown) {
  try {
    return new AjvJsonSchemaValidator().getValidator(inputSchema as never)(args);
  } catch (error) {
    throw new OptionError('tool', name, `a tool whose inputSchema can be used: ${messageOf(error)}`, error);
  }
}
