import { z } from 'zod';
import { messageOf, OptionError } from '../../core/errors.js';
import { readWhole } from '../../core/files/readWhole.js';

/** What YAML is read into takes some hundred times as much. */
const MAX_BYTES = 256 * 1_024;

const call = z.strictObject({
  /** A tool's name; its arguments, with placeholders. */
  tool: z.string().min(1),
  args: z.record(z.string(), z.unknown()).optional(),
  /** How often it is called beside the others of its stream. */
  weight: z.number().positive().default(1),
  /** How figures name it; the tool by default. */
  name: z.string().min(1).optional(),
});

const stream = z.strictObject({
  name: z.string().min(1),
  mix: z.array(call).min(1),
  /** Closed model: so many callers. */
  concurrency: z.int().min(1).max(100_000).optional(),
  thinkMs: z.number().min(0).optional(),
  idleMs: z.number().min(0).optional(),
  burstMs: z.number().positive().optional(),
  /** Open model: so many calls a second. */
  ratePerSec: z.number().positive().optional(),
  rampTo: z.number().positive().optional(),
  arrivals: z.enum(['uniform', 'poisson']).optional(),
  maxInFlight: z.int().min(1).optional(),
});

/** The form of a scenario file, YAML or JSON. */
export const SCENARIO_SCHEMA = z.strictObject({
  $schema: z.string().optional(),
  name: z.string().default('scenario'),
  streams: z.array(stream).min(1),
});

export type Scenario = z.infer<typeof SCENARIO_SCHEMA>;
export type ScenarioStream = z.infer<typeof stream>;

/** The schema as JSON Schema, for editors. */
export const scenarioJsonSchema = (): object => z.toJSONSchema(SCENARIO_SCHEMA, { io: 'input' });

/** @throws OptionError that names the file and the place in it. */
export async function readScenario(file: string): Promise<Scenario> {
  let text: string;
  try {
    text = await readWhole(file, MAX_BYTES);
  } catch (error) {
    throw new OptionError('scenario', file, `a file that can be read (${messageOf(error)})`, error);
  }
  const { parse } = await import('yaml');
  let data: unknown;
  try {
    // JSON is YAML too.
    data = parse(text);
  } catch (error) {
    throw new OptionError('scenario', file, `YAML or JSON: ${messageOf(error)}`, error);
  }
  return checkScenario(data, file);
}

/** @throws OptionError that names the place. */
export function checkScenario(data: unknown, file = 'scenario'): Scenario {
  const { success, data: scenario, error } = SCENARIO_SCHEMA.safeParse(data);
  if (!success) {
    const [issue] = error.issues;
    const place = issue?.path.map(String).join('.') ?? '';
    throw new OptionError(
      `scenario ${file}${place === '' ? '' : `, ${place}`}`,
      valueAt(data, issue?.path ?? []),
      issue?.message ?? 'another form',
    );
  }
  const names = new Set<string>();
  for (const [index, each] of scenario.streams.entries()) {
    const place = `scenario ${file}, streams.${index}`;
    if (names.has(each.name)) throw new OptionError(`${place}.name`, each.name, 'a name no other stream has');
    names.add(each.name);
    if ((each.concurrency === undefined) === (each.ratePerSec === undefined)) {
      throw new OptionError(place, each.name, 'either concurrency (closed model) or ratePerSec (open model)');
    }
  }
  return scenario;
}

function valueAt(data: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], data);
}
