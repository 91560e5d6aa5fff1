import { META_RELATED_TASK } from '../../connection/protocol/metaKeys.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { isValidatable } from './outputSchema.js';

/**
 * What official clients take as a member: the value itself where it is that, a copy without what is odd in it, and undefined where it is to be
 * left out. `odd` is told the path of each that is left out; elements and free names are `[]` in it, so that there are few paths.
 */
export type Taken = (value: unknown, path: string, odd: Set<string>) => unknown;

const leftOut = (path: string, odd: Set<string>): undefined => {
  odd.add(path);
  return undefined;
};

const where =
  (is: (value: unknown) => boolean): Taken =>
  (value, path, odd) =>
    is(value) ? value : leftOut(path, odd);

const text = where((value) => typeof value === 'string');
const flag = where((value) => typeof value === 'boolean');
const number = where((value) => Number.isFinite(value));
const object = where(isObject);
const oneOf = (...values: readonly string[]): Taken => where((value) => values.includes(value as string));

/** An object with these members; of those in `required` none may be odd or missing. */
export function objectWith(members: Readonly<Record<string, Taken>>, required: readonly string[] = []): Taken {
  const rules = Object.entries(members).map(([key, taken]) => ({ key, taken, step: `.${key}` }));
  return (value, path, odd) => {
    if (!isObject(value)) return leftOut(path, odd);
    let copy: Record<string, unknown> | undefined;
    for (const { key, taken, step } of rules) {
      const own = value[key];
      if (own === undefined) continue;
      const kept = taken(own, path + step, odd);
      if (kept === own) continue;
      copy ??= { ...value };
      if (kept === undefined) delete copy[key];
      else copy[key] = kept;
    }
    const whole = copy ?? value;
    return required.every((key) => whole[key] !== undefined) ? whole : leftOut(path, odd);
  };
}

const listOf =
  (taken: Taken): Taken =>
  (value, path, odd) => {
    if (!Array.isArray(value)) return leftOut(path, odd);
    const all = value.map((each) => taken(each, `${path}[]`, odd));
    return all.every((each, at) => each === value[at]) ? value : all.filter((each) => each !== undefined);
  };

/** An object whose members have names of their own. */
const recordOf =
  (taken: Taken): Taken =>
  (value, path, odd) => {
    if (!isObject(value)) return leftOut(path, odd);
    const inner = `${path}[]`;
    let changed = false;
    const all = Object.entries(value);
    for (const member of all) {
      const kept = taken(member[1], inner, odd);
      changed ||= kept !== member[1];
      member[1] = kept;
    }
    return changed ? Object.fromEntries(all.filter(([, each]) => each !== undefined)) : value;
  };

const ANYTHING = Object.freeze({});
/** `true` is a schema as well, which some clients do not know: it says what `{}` says. */
const schema: Taken = (value, path, odd) =>
  value === true ? ANYTHING : Array.isArray(value) ? value : object(value, path, odd);

const DATE_TIME = /^(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3])(?::[0-5]\d){2}(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;
const dateTime = where((value) => {
  const day = typeof value === 'string' ? DATE_TIME.exec(value)?.[1] : undefined;
  const date = new Date(`${day}T00:00:00Z`);
  // A day that its month does not have is another month's.
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(`${day}T`);
});

const NAMED = { title: text, description: text, _meta: object };
const icons = listOf(
  objectWith({ src: text, mimeType: text, sizes: listOf(text), theme: oneOf('light', 'dark') }, ['src']),
);
const annotations = objectWith({
  audience: listOf(oneOf('user', 'assistant')),
  priority: where((value) => typeof value === 'number' && value >= 0 && value <= 1),
  lastModified: dateTime,
});
const objectSchema = objectWith(
  { $schema: text, type: oneOf('object'), properties: recordOf(schema), required: listOf(text) },
  ['type'],
);
/** One that names no type, as `{}` for a tool without arguments: these are members of an object. */
const inputSchema: Taken = (value, path, odd) =>
  objectSchema(isObject(value) && value['type'] === undefined ? { ...value, type: 'object' } : value, path, odd);
const anySchema = objectWith({ $schema: text });
/** Modern clients take a schema of anything. */
const outputSchema: Taken = (value, path, odd) => {
  const own = isObject(value) && value['type'] !== 'object' ? anySchema : objectSchema;
  const kept = own(value, path, odd);
  return kept === undefined || isValidatable(kept) ? kept : leftOut(path, odd);
};
const resource = { ...NAMED, icons, mimeType: text, annotations };

/** Members of what is listed, as the schemas of the official clients have them; what is not named here may be anything. */
export const ITEM_TYPES = Object.freeze({
  tools: objectWith(
    {
      ...NAMED,
      icons,
      inputSchema,
      outputSchema,
      annotations: objectWith({
        title: text,
        readOnlyHint: flag,
        destructiveHint: flag,
        idempotentHint: flag,
        openWorldHint: flag,
      }),
      execution: objectWith({ taskSupport: oneOf('required', 'optional', 'forbidden') }),
    },
    ['inputSchema'],
  ),
  prompts: objectWith({
    ...NAMED,
    icons,
    arguments: listOf(objectWith({ name: text, title: text, description: text, required: flag }, ['name'])),
  }),
  resources: objectWith({ ...resource, size: number }),
  resourceTemplates: objectWith(resource),
});

/** Of what is listed of tasks. */
export const TASK_TYPE: Taken = objectWith(
  {
    taskId: text,
    status: oneOf('working', 'input_required', 'completed', 'failed', 'cancelled'),
    ttl: where((value) => value === null || Number.isFinite(value)),
    createdAt: text,
    lastUpdatedAt: text,
    pollInterval: number,
    statusMessage: text,
  },
  ['taskId', 'status', 'ttl', 'createdAt', 'lastUpdatedAt'],
);

/** The `_meta` of a question. */
export const META_TYPE: Taken = objectWith({
  progressToken: where((value) => typeof value === 'string' || Number.isSafeInteger(value)),
  [META_RELATED_TASK]: objectWith({ taskId: text }, ['taskId']),
});

/** The capability for tasks of their first form. */
export const TASKS_TYPE: Taken = objectWith({
  list: object,
  cancel: object,
  requests: objectWith({ tools: objectWith({ call: object }) }),
});

/** One that is `true` says what `{}` says. */
const capability =
  (members: Readonly<Record<string, Taken>> = {}): Taken =>
  (value, path, odd) =>
    value === true ? ANYTHING : objectWith(members)(value, path, odd);

/** What a server can do. */
export const CAPABILITIES_TYPE: Taken = objectWith({
  experimental: recordOf(object),
  logging: capability(),
  completions: capability(),
  prompts: capability({ listChanged: flag }),
  resources: capability({ subscribe: flag, listChanged: flag }),
  tools: capability({ listChanged: flag }),
  tasks: TASKS_TYPE,
  extensions: recordOf(object),
});

/** Who a server says it is. */
export const IMPLEMENTATION_TYPE: Taken = objectWith({
  name: text,
  version: text,
  title: text,
  description: text,
  websiteUrl: text,
  icons,
});
