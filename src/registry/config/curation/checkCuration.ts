import { z } from 'zod';
import { OptionError } from '../../../core/errors.js';
import type { Curation } from './Curation.js';

const text = z.string({ error: 'expected a string' });
const texts = z.array(text, { error: 'expected an array of strings' });
const byName = <T extends z.ZodType>(value: T) => z.record(z.string(), value, { error: 'expected an object' });
const NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const nameText = text.regex(NAME, 'expected 1 to 64 of A-Z, a-z, 0-9, _, - and .');
const expose = z.enum(['all', 'search'], { error: 'expected "all" or "search"' });

export const toolRulesSchema = z
  .strictObject(
    {
      allow: texts.optional(),
      deny: texts.optional(),
      rename: byName(nameText).optional(),
      describe: byName(text).optional(),
      fixed: byName(byName(z.unknown())).optional(),
      hide: byName(texts).optional(),
    },
    { error: (issue) => unknownField(issue) ?? 'expected an object of rules' },
  )
  .superRefine(({ rename = {} }, context) => {
    const names = Object.values(rename);
    const twice = Object.entries(rename).find(([, name], index) => names.indexOf(name) < index);
    if (twice !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['rename', twice[0]],
        message: 'expected a name that no other tool gets',
      });
    }
  });

const groupSchema = z.strictObject(
  { servers: texts.optional(), allow: texts.optional(), deny: texts.optional(), expose: expose.optional() },
  { error: (issue) => unknownField(issue) ?? 'expected an object' },
);

/** What stands under `gateway` in a config file. */
export const gatewaySchema = z.strictObject(
  {
    groups: z.record(nameText, groupSchema, { error: 'expected an object of groups by name' }).optional(),
    prefix: z
      .enum(['server__tool', 'server.tool', 'none'], { error: 'expected "server__tool", "server.tool" or "none"' })
      .optional(),
    expose: expose.optional(),
  },
  { error: (issue) => unknownField(issue) ?? 'expected an object' },
);

const curationSchema = gatewaySchema.extend({ servers: byName(toolRulesSchema).optional() });

/** @throws OptionError */
export function checkCuration(curation: Curation): Curation {
  const checked = curationSchema.safeParse(curation);
  const issue = checked.error?.issues[0];
  if (issue === undefined) return curation;
  const value = issue.path.reduce<unknown>(
    (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
    curation,
  );
  throw new OptionError(['curation', ...issue.path].join('.'), value, issue.message.replace(/^expected /, ''));
}

function unknownField(issue: { readonly code?: string; readonly keys?: unknown }): string | undefined {
  return issue.code === 'unrecognized_keys' ? `unknown: ${String(issue.keys)}` : undefined;
}
