import { OptionError } from '../../../core/errors.js';
import {
  checkBoolean,
  checkCount,
  checkMs,
  checkOneOf,
  checkRatio,
  checkText,
  unknownOption,
} from '../../../core/options.js';
import { FAULT_NAMES, FAULTS, type Fault } from '../faultTable.js';
import { type FaultSettings, SETTINGS } from '../settings.js';
import { DISK_METHODS } from '../table/disk.js';
import { canBeOn, type FaultWire, TCP_EXCHANGE, UNKNOWN_METHODS } from '../table/spec.js';
import { globMatches } from './glob.js';

/** A request, or a start (then without a method), as a plan looks at it. */
export interface FaultSubject {
  readonly server: string;
  readonly method?: string;
  readonly params?: unknown;
  /** Who asks: a principal, a session, or a client's name, as the place of injection knows it. */
  readonly caller?: string | undefined;
  /** The transport, where only its own faults can be injected. */
  readonly wire?: FaultWire | undefined;
}

/** Which requests, when, and what befalls them. Of several rules the first that is due wins. */
export interface FaultRule extends FaultSettings {
  /** What befalls them. */
  readonly fault: Fault;
  /** Servers, by name: `*` and `?` as in file names. @defaultValue every server */
  readonly server?: string;
  /** Methods, as a glob. @defaultValue what the fault is about, else the calls that act: `tools/call`, `resources/read`, `prompts/get`, `completion/complete` */
  readonly method?: string;
  /** Tools or prompts, by name, as a glob. @defaultValue all */
  readonly tool?: string;
  /** Resources, by URI, as a glob. @defaultValue all */
  readonly uri?: string;
  /** What the params must hold: each field equal, strings as globs, objects field by field; or a function, which no JSON can carry. @defaultValue anything */
  readonly params?: Readonly<Record<string, unknown>> | ((params: unknown) => boolean);
  /** Who asks, as a glob. @defaultValue everyone */
  readonly caller?: string;
  /** Only the nth of them, from 1. @defaultValue all */
  readonly nth?: number;
  /** Each nth of them, from 1. @defaultValue 1 */
  readonly every?: number;
  /** Only the first so many, from 1. @defaultValue all */
  readonly first?: number;
  /** Not the first so many, from 0. @defaultValue 0 */
  readonly after?: number;
  /** Only within so many ms of the first of them that is due. @defaultValue Infinity */
  readonly forMs?: number;
  /** The share of those due that it befalls, 0 to 1. @defaultValue 1 */
  readonly probability?: number;
  /** Most injections, from 1. @defaultValue Infinity */
  readonly times?: number;
  /** Whether it is switched on; off, it counts nothing. @defaultValue true */
  readonly enabled?: boolean;
}

/** What names a rule's requests and times, with the JSON schema of each. */
export const RULE_FIELDS = Object.freeze({
  server: { type: 'string', minLength: 1 },
  method: { type: 'string', minLength: 1 },
  tool: { type: 'string', minLength: 1 },
  uri: { type: 'string', minLength: 1 },
  params: { type: 'object' },
  caller: { type: 'string', minLength: 1 },
  nth: { type: 'integer', minimum: 1 },
  every: { type: 'integer', minimum: 1 },
  first: { type: 'integer', minimum: 1 },
  after: { type: 'integer', minimum: 0 },
  forMs: { type: 'number', minimum: 0 },
  probability: { type: 'number', minimum: 0, maximum: 1 },
  times: { type: 'integer', minimum: 1 },
  enabled: { type: 'boolean' },
}) satisfies Record<Exclude<keyof FaultRule, keyof FaultSettings | 'fault'>, object>;

/** Requests that make a server act: what faults befall where a rule does not say. */
export const ACTING_METHODS: ReadonlySet<string> = new Set([
  'tools/call',
  'resources/read',
  'prompts/get',
  'completion/complete',
  TCP_EXCHANGE,
  ...DISK_METHODS,
]);

const KNOWN_METHODS: ReadonlySet<string> = new Set([
  ...ACTING_METHODS,
  'initialize',
  'ping',
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/subscribe',
  'resources/unsubscribe',
  'logging/setLevel',
  'subscriptions/listen',
]);

/** The rule, checked. @throws OptionError with its place, such as `rules[2].nth` */
export function checkRule(place: string, given: unknown): FaultRule {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionError(place, given, "a rule, such as { tool: 'echo', nth: 3, fault: 'crash' }");
  }
  const rule = given as Record<string, unknown>;
  const fault = checkOneOf(`${place}.fault`, rule['fault'], FAULT_NAMES);
  const { settings, scope } = FAULTS[fault];
  for (const [name, value] of Object.entries(rule)) {
    if (value === undefined || name === 'fault') continue;
    if (Object.hasOwn(SETTINGS, name)) {
      const setting = name as keyof FaultSettings;
      if (!settings.includes(setting)) {
        const own = settings.length === 0 ? 'it has none' : `it has ${settings.join(', ')}`;
        throw new OptionError(`${place}.${name}`, value, `a setting of the fault '${fault}'; ${own}`);
      }
      SETTINGS[setting].check(`${place}.${name}`, value);
    } else if (!Object.hasOwn(RULE_FIELDS, name)) {
      throw unknownOption(place, name, value, ['fault', ...Object.keys(RULE_FIELDS), ...settings]);
    } else checkField(`${place}.${name}`, name, value);
  }
  if (scope === 'start') {
    for (const name of ['method', 'tool', 'uri', 'params'] as const) {
      if (rule[name] === undefined) continue;
      throw new OptionError(`${place}.${name}`, rule[name], `nothing: '${fault}' befalls a start, which has none`);
    }
  }
  return Object.freeze({ ...(rule as unknown as FaultRule) });
}

function checkField(place: string, name: string, value: unknown): void {
  switch (name) {
    case 'nth':
    case 'every':
    case 'first':
      checkCount(place, value, { min: 1 });
      return;
    case 'times':
      checkCount(place, value, { min: 1, infinity: true });
      return;
    case 'after':
      checkCount(place, value);
      return;
    case 'forMs':
      checkMs(place, value, { infinity: true });
      return;
    case 'probability':
      checkRatio(place, value);
      return;
    case 'enabled':
      checkBoolean(place, value);
      return;
    case 'params':
      if ((typeof value === 'object' && value !== null && !Array.isArray(value)) || typeof value === 'function') return;
      throw new OptionError(place, value, 'an object of fields, or a function');
    default:
      checkText(place, value);
  }
}

/** Whether the rule is about that request or start, whenever it comes. */
export function concerns(rule: FaultRule, { server, method, params, caller, wire }: FaultSubject): boolean {
  const { scope, methods } = FAULTS[rule.fault];
  if (!canBeOn(FAULTS[rule.fault], wire)) return false;
  if ((scope === 'start') !== (method === undefined)) return false;
  if (rule.server !== undefined && !globMatches(rule.server, server)) return false;
  if (rule.caller !== undefined && (caller === undefined || !globMatches(rule.caller, caller))) return false;
  if (method === undefined) return true;
  if (rule.method !== undefined ? !globMatches(rule.method, method) : !isMeant(method, methods)) return false;
  const given = (params ?? {}) as Readonly<Record<string, unknown>>;
  if (rule.tool !== undefined && !named(rule.tool, given['name'])) return false;
  if (rule.uri !== undefined && !named(rule.uri, given['uri'])) return false;
  if (typeof rule.params === 'function') return rule.params(params) === true;
  return rule.params === undefined || holds(given, rule.params);
}

/** Whether a fault befalls that method where nothing else is said. */
export function isMeant(method: string, methods: readonly string[] | undefined): boolean {
  if (methods === undefined) return ACTING_METHODS.has(method);
  return methods.includes(method) || (methods.includes(UNKNOWN_METHODS) && !KNOWN_METHODS.has(method));
}

function named(pattern: string, name: unknown): boolean {
  return typeof name === 'string' && globMatches(pattern, name);
}

/** Whether `value` has all that `wanted` has. */
function holds(value: unknown, wanted: unknown): boolean {
  if (typeof wanted === 'string') return typeof value === 'string' && globMatches(wanted, value);
  if (typeof wanted !== 'object' || wanted === null) return Object.is(value, wanted);
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(wanted) && (!Array.isArray(value) || value.length !== wanted.length)) return false;
  return Object.entries(wanted).every(([key, each]) => holds((value as Record<string, unknown>)[key], each));
}

/** Whether a rule befalls the `turn`th of its requests (from 1), but for its share, its time and its bound. */
export function isTurn(
  { nth, every = 1, first = Number.POSITIVE_INFINITY, after = 0 }: FaultRule,
  turn: number,
): boolean {
  if (nth !== undefined && turn !== nth) return false;
  return turn > after && turn <= first && (turn - after) % every === 0;
}
