import type { Run } from './run.js';

/** Where two values differ, each as `path: straight, through`; at most a few of them. */
export function differences(straight: unknown, through: unknown, path = ''): string[] {
  if (Object.is(straight, through)) return [];
  if (!isObject(straight) || !isObject(through) || Array.isArray(straight) !== Array.isArray(through)) {
    return [`${path}: ${short(straight)}, ${short(through)}`];
  }
  const keys = new Set([...Object.keys(straight), ...Object.keys(through)]);
  return [...keys].flatMap((key) => differences(straight[key], through[key], path === '' ? key : `${path}.${key}`));
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const short = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
};

/** A difference that is meant, with why. */
export interface Reason {
  readonly target: RegExp;
  readonly client: RegExp;
  /** Of the step's name and the path in what it saw. */
  readonly path: RegExp;
  readonly why: string;
}

const NONE_TO_ASK =
  'a shared pipe does not say whose call asks, so nothing can be asked of a client of the legacy era: `sharing: "bound"` is for that';

export const REASONS: readonly Reason[] = [
  {
    target: /^all/,
    client: /./,
    path: /^connect: value\..*(server|instructions)/,
    why: 'all servers under one roof: it is the gateway that says who it is, and each server’s instructions stand under its name',
  },
  {
    target: /^all/,
    client: /./,
    path: /^(list .*|templates|prompts): value\.(list\.)?(_meta|ttlMs)/,
    why: 'a list of all servers: no server’s name stands over it, and it lives as long as the shortest of its parts',
  },
  {
    target: /^all/,
    client: /./,
    path: /^(errors|sampling|elicitation): .*(error\.message|said): .*unknown (tool|prompt): /,
    why: 'a name that no server has is refused by the gateway, in its own words and with the code the server would use',
  },
  {
    target: /^stdio, shared/,
    client: /v1|legacy|mcp-remote|Inspector/,
    path: /^(sampling|elicitation|roots|several rounds|prompts): value\.(results|asked|asking|\d)/,
    why: NONE_TO_ASK,
  },
  {
    target: /./,
    client: /mcp-remote/,
    path: /^progress: /,
    why: 'mcp-remote hands messages on each in its own time, and the client behind it forgets progress that comes after the answer: some is lost straight as well',
  },
];

export interface Difference {
  readonly step: string;
  readonly what: string;
  readonly why: string | undefined;
}

/** Every difference of two runs, each with its reason if it has one. */
export function compare(client: string, target: string, straight: Run, through: Run): Difference[] {
  return [...straight].flatMap(([step, outcome]) =>
    differences(outcome, through.get(step)).map((what) => {
      const path = `${step}: ${what}`;
      const reason = REASONS.find(
        (each) => each.target.test(target) && each.client.test(client) && each.path.test(path),
      );
      return { step, what, why: reason?.why };
    }),
  );
}
