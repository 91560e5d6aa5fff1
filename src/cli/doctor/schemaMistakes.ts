import type { Tool } from '@modelcontextprotocol/client';

const TYPES: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']);
const MAX_TOLD = 5;
const MAX_DEPTH = 16;

/** Mistakes in tools that clients put up with, and models stumble over: a few, and how many more. */
export function schemaMistakes(tools: readonly Tool[]): string[] {
  const mistakes = tools.flatMap((tool) =>
    mistakesOf(tool).map((each) => `tool ${JSON.stringify(tool.name)}: ${each}`),
  );
  if (mistakes.length <= MAX_TOLD) return mistakes;
  return [...mistakes.slice(0, MAX_TOLD), `${mistakes.length - MAX_TOLD} more of the kind`];
}

function mistakesOf({ name, inputSchema }: Tool): string[] {
  const mistakes: string[] = [];
  if (!/^[A-Za-z0-9_.-]{1,128}$/.test(name)) mistakes.push('its name is not 1 to 128 of A-Z, a-z, 0-9, _, - and .');
  walk(inputSchema, 'inputSchema', 0, mistakes);
  return mistakes;
}

function walk(schema: unknown, at: string, depth: number, mistakes: string[]): void {
  if (typeof schema === 'boolean' || depth > MAX_DEPTH) return;
  if (!isObject(schema)) {
    mistakes.push(`${at} is no schema`);
    return;
  }
  const { type, properties, required, items } = schema;
  for (const each of Array.isArray(type) ? (type as unknown[]) : [type]) {
    if (each !== undefined && !TYPES.has(each)) mistakes.push(`${at}.type ${JSON.stringify(each)} is no type`);
  }
  if (properties !== undefined && !isObject(properties)) mistakes.push(`${at}.properties is no object`);
  const names = isObject(properties) ? properties : {};
  if (required !== undefined && !Array.isArray(required)) mistakes.push(`${at}.required is no array`);
  for (const each of Array.isArray(required) ? (required as unknown[]) : []) {
    if (typeof each !== 'string' || !Object.hasOwn(names, each)) {
      mistakes.push(`${at}.required names ${JSON.stringify(each)}, which is no property`);
    }
  }
  for (const [name, each] of Object.entries(names)) walk(each, `${at}.properties.${name}`, depth + 1, mistakes);
  if (items !== undefined && !Array.isArray(items)) walk(items, `${at}.items`, depth + 1, mistakes);
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
