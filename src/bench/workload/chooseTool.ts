import type { Tool } from '@modelcontextprotocol/client';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/client/validators/ajv';
import { OptionError } from '../../core/errors.js';
import { nearNames } from '../../core/nearNames.js';
import type { Target } from '../target/Target.js';
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

/**
 * The tool to call: the one that was named, else `echo`, else the first whose arguments can be made up from its schema.
 * It is called twice, to see that the arguments are taken and whether answers hold the call's nonce.
 * @throws OptionError for a tool that does not exist (with the nearest names), for arguments its schema refuses, and for
 * a placeholder that does not exist; ToolFailedError when the tool answers with an error.
 */
export async function chooseTool(
  target: Target,
  name: string | undefined,
  args: Arguments | undefined,
  signal?: AbortSignal,
): Promise<ChosenTool> {
  const tools = await target.list(signal === undefined ? {} : { signal });
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
    const result = await target.callTool(tool.name, filled, signal === undefined ? {} : { signal });
    const shape = { echoes: hasNonce(template) && holds(result, nonceOf(turn)), signature: signatureOf(result) };
    checkAnswer(result, shape, nonceOf(turn));
    shapes.push(shape);
  }
  const [first, second] = shapes as [AnswerShape, AnswerShape];
  const shape = { echoes: first.echoes && second.echoes, signature: first.signature };
  return { tool: tool.name, args: template, fill, shape };
}

function pick(tools: readonly Tool[], name: string | undefined): Tool {
  const names = tools.map((tool) => tool.name);
  if (name === undefined) {
    const found = tools.find((tool) => tool.name === 'echo') ?? tools.find((tool) => madeUp(tool) !== undefined);
    if (found !== undefined) return found;
    throw new OptionError('tool', name, `the name of a tool; the server has ${names.join(', ') || 'none'}`);
  }
  const found = tools.find((tool) => tool.name === name);
  if (found !== undefined) return found;
  const near = nearNames(name, names);
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `it has ${names.join(', ') || 'none'}`;
  throw new OptionError('tool', name, `a tool of the server; ${hint}`);
}

interface Property {
  readonly type?: unknown;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly minimum?: number;
}

/** Arguments out of a schema's required properties, the nonce in the first text; undefined when one cannot be made. */
function madeUp(tool: Tool): Arguments | undefined {
  const { properties = {}, required = [] } = tool.inputSchema as {
    readonly properties?: Readonly<Record<string, Property>>;
    readonly required?: readonly string[];
  };
  const args: Record<string, unknown> = {};
  let nonce = false;
  for (const name of required) {
    const property = properties[name] ?? {};
    if (property.default !== undefined) args[name] = property.default;
    else if (property.enum !== undefined) args[name] = property.enum[0];
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
    Object.entries(properties).find(
      ([name, { type, enum: values }]) => type === 'string' && values === undefined && !(name in args),
    ) ?? [];
  return free === undefined ? args : { ...args, [free]: '{{nonce}}' };
}

function checkArguments(tool: Tool, args: unknown): void {
  const validate = new AjvJsonSchemaValidator().getValidator(tool.inputSchema as never);
  const { valid, errorMessage } = validate(args);
  if (!valid)
    throw new OptionError('args', JSON.stringify(args), `what the schema of ${tool.name} takes: ${errorMessage}`);
}
