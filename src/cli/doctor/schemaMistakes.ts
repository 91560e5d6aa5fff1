import type { Tool } from '@modelcontextprotocol/client';
import { show } from '../../core/errors.js';
import { few } from '../output/few.js';

const TYPES: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']);
const MAX_TOLD = 5;
const MAX_DEPTH = 16;

/** Made into a text only where it is told: a schema may have tens of thousands. */
type Mistake = () => string;

/** Mistakes in tools that clients put up with, and models stumble over: a few, and how many more. */
export const schemaMistakes = (tools: readonly Tool[]): string[] => few(mistakesOf(tools), (tell) => tell(), MAX_TOLD);

function* mistakesOf(tools: readonly Tool[]): Generator<Mistake> {
  for (const { name, inputSchema } of tools) {
    const of = `tool ${show(name)}: `;
    if (!/^[A-Za-z0-9_.-]{1,128}$/.test(name)) yield () => `${of}its name is not 1 to 128 of A-Z, a-z, 0-9, _, - and .`;
    yield* walk(inputSchema, `${of}inputSchema`, 0);
  }
}

function* walk(schema: unknown, at: string, depth: number): Generator<Mistake> {
  if (typeof schema === 'boolean' || depth > MAX_DEPTH) return;
  if (!isObject(schema)) {
    yield () => `${at} is no schema`;
    return;
  }
  const { type, properties, required, items } = schema;
  for (const each of Array.isArray(type) ? (type as unknown[]) : [type]) {
    if (each !== undefined && !TYPES.has(each)) yield () => `${at}.type ${show(each)} is no type`;
  }
  if (properties !== undefined && !isObject(properties)) yield () => `${at}.properties is no object`;
  const names = isObject(properties) ? properties : {};
  if (required !== undefined && !Array.isArray(required)) yield () => `${at}.required is no array`;
  for (const each of Array.isArray(required) ? (required as unknown[]) : []) {
    if (typeof each !== 'string' || !Object.hasOwn(names, each)) {
      yield () => `${at}.required names ${show(each)}, which is no property`;
    }
  }
  for (const [name, each] of Object.entries(names)) yield* walk(each, `${at}.properties.${name}`, depth + 1);
  if (items !== undefined && !Array.isArray(items)) yield* walk(items, `${at}.items`, depth + 1);
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
