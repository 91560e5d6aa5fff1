import { z } from 'zod';
import { toolRulesSchema } from './curation/checkCuration.js';
import { oauthSchema } from './OAuthSettings.js';
import { envSchema, SEVERAL_SHAPE } from './targets/severalSchema.js';

/** A time in a file, where JSON has no Infinity. */
const ENDLESS = 'expected milliseconds, 1 or more, or "Infinity"';
const endless = z.union([z.number().min(1, ENDLESS), z.literal('Infinity').transform(() => Number.POSITIVE_INFINITY)], {
  error: ENDLESS,
});
const count = z.int({ error: 'expected a whole number, 1 or more' }).min(1, 'expected a whole number, 1 or more');
const BYTES = 'expected a whole number of bytes, 1024 or more';
const COUNT_OR_AUTO = 'expected a whole number, 1 or more, or "auto"';
const text = z.string({ error: 'expected a string' });
const texts = z.array(text, { error: 'expected an array of strings' });
const textMap = z.record(z.string(), text, { error: 'expected an object of strings' });
const bool = z.boolean({ error: 'expected true or false' });

const oneOf = <const T extends string>(values: readonly [T, ...T[]]) =>
  z.enum(values, { error: `expected one of ${values.map((each) => `"${each}"`).join(', ')}` });

const timeouts = z.object(
  { default: endless.optional(), byTool: z.record(z.string(), endless).optional() },
  { error: 'expected an object' },
);
const TIMEOUT_FIELDS: ReadonlySet<string> = new Set(Object.keys(timeouts.shape));

/** What a server may set for itself beyond how it is reached: the same names in the file as in `ServerConfig`. */
export const settingsSchema = z.object({
  era: oneOf(['legacy', 'modern', 'auto']).optional(),
  sharing: oneOf(['shared', 'leased', 'bound']).optional(),
  clientCapabilities: z.record(z.string(), z.unknown(), { error: 'expected an object' }).optional(),
  warmSpares: z.int({ error: 'expected a whole number, 0 or more' }).min(0).optional(),
  maxConnections: count.optional(),
  maxConcurrent: z.union([z.int().min(1, COUNT_OR_AUTO), z.literal('auto')], { error: COUNT_OR_AUTO }).optional(),
  maxQueue: z.int({ error: 'expected a whole number, 0 or more' }).min(0).optional(),
  maxMessageBytes: z.int({ error: BYTES }).min(1_024, BYTES).optional(),
  acquireTimeoutMs: endless.optional(),
  startTimeoutMs: endless.optional(),
  idleTimeoutMs: endless.optional(),
  timeouts: timeouts.optional(),
  repeatable: z
    .array(text.min(1, 'expected the name of a tool, got an empty string'), { error: 'expected an array of strings' })
    .optional(),
});

export const TYPES = ['stdio', 'http', 'streamable-http', 'streamableHttp', 'sse'] as const;

/** One entry of `mcpServers`, before its variables are expanded. */
export const entrySchema = settingsSchema.extend({
  command: text.optional(),
  args: texts.optional(),
  env: envSchema.optional(),
  cwd: text.optional(),
  inheritEnv: texts.optional(),
  url: text.optional(),
  headers: textMap.optional(),
  auth: oauthSchema.optional(),
  type: oneOf(TYPES).optional(),
  transport: oneOf(TYPES).optional(),
  disabled: bool.optional(),
  enabled: bool.optional(),
  tools: toolRulesSchema.optional(),
  ...SEVERAL_SHAPE,
});

export type Entry = z.infer<typeof entrySchema>;

const ENTRY_FIELDS: ReadonlySet<string> = new Set(Object.keys(entrySchema.shape));
export const SETTING_FIELDS = Object.keys(settingsSchema.shape) as (keyof z.infer<typeof settingsSchema>)[];

/** What an entry, and its `timeouts`, hold beside the fields that are known there. */
export function unknownFields(entry: Readonly<Record<string, unknown>>) {
  const of = (value: unknown, at: string, known: ReadonlySet<string>) =>
    Object.keys(typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {})
      .filter((field) => !known.has(field))
      .map((field) => ({ at, field, known }));
  return [...of(entry, '', ENTRY_FIELDS), ...of(entry['timeouts'], 'timeouts.', TIMEOUT_FIELDS)];
}
