import { z } from 'zod';
import { oauthSchema } from '../OAuthSettings.js';

/** Targets of one server beyond which more would be a mistake, and labels of metrics many. */
export const MAX_TARGETS = 64;
const MAX_WEIGHT = 1_000_000;

const ONE = 'expected a string';
const text = z.string({ error: ONE });
/** Variables of a program, which VS Code's configs may have as numbers: the text of each. */
export const envSchema = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean()], { error: ONE }).transform(String),
  { error: 'expected an object of strings' },
);
const zone = text
  .trim()
  .min(1, 'expected a name of a zone, got an empty one')
  .max(64, 'expected 64 characters or fewer');
const number = (error: string, min: number, max = Number.POSITIVE_INFINITY) =>
  z.number({ error }).min(min, error).max(max, error);
/** JSON has no Infinity. */
const INFINITE = z.literal('Infinity').transform(() => Number.POSITIVE_INFINITY);
const endless = (error: string, min: number, whole = false) =>
  z.union([whole ? z.int().min(min, error) : z.number().min(min, error), INFINITE], { error });
const ms = (min: number) => number(`expected milliseconds, ${min} or more`, min);
const ratio = number('expected a number from 0 to 1', 0, 1);
const known = <T extends z.core.$ZodLooseShape>(shape: T, what: string) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `expected only ${Object.keys(shape).join(', ')}, got ${(issue as unknown as { keys: string[] }).keys.join(', ')} too`
        : `expected ${what}`,
  });

/** One target before its variables are expanded; what else stands there is left for who reads it. */
const reach = z.looseObject(
  {
    transport: text.optional(),
    type: text.optional(),
    command: text.optional(),
    args: z.array(text, { error: 'expected an array of strings' }).optional(),
    env: envSchema.optional(),
    cwd: text.optional(),
    inheritEnv: z.array(text, { error: 'expected an array of strings' }).optional(),
    url: text.optional(),
    headers: z.record(z.string(), text, { error: 'expected an object of strings' }).optional(),
    auth: oauthSchema.optional(),
  },
  { error: 'expected an object with command or url' },
);
const WEIGHT = `expected a number from 0 to ${MAX_WEIGHT}`;
const target = reach.extend({ weight: number(WEIGHT, 0, MAX_WEIGHT).optional(), zone: zone.optional() });

const COUNT = `expected 1 to ${MAX_TARGETS} targets`;
const AFTER = 'expected milliseconds, or a quantile from "p50" to "p99.9"';
const POLICIES = ['least-loaded', 'p2c-ewma', 'round-robin', 'failover', 'hash'] as const;

/** What a server with several targets says beyond what any server does: the same names in files and in `ServerConfig`. */
export const SEVERAL_SHAPE = {
  targets: z.array(target, { error: 'expected an array of targets' }).min(1, COUNT).max(MAX_TARGETS, COUNT).optional(),
  balance: z.enum(POLICIES, { error: `expected one of ${POLICIES.map((each) => `"${each}"`).join(', ')}` }).optional(),
  zone: zone.optional(),
  hedge: known(
    {
      after: z.union([z.number().min(0, AFTER), z.string().regex(/^p[5-9]\d(?:\.\d+)?$/, AFTER)], { error: AFTER }),
    },
    'an object with after',
  ).optional(),
  retryRatio: ratio.optional(),
  outliers: known(
    {
      consecutiveFailures: endless('expected a whole number, 1 or more, or "Infinity"', 1, true).optional(),
      failureRatio: endless('expected a ratio from 0.01 to 1, or "Infinity"', 0.01)
        .refine(
          (each) => each <= 1 || each === Number.POSITIVE_INFINITY,
          'expected a ratio from 0.01 to 1, or "Infinity"',
        )
        .optional(),
      latencyFactor: endless('expected a number, 1.1 or more, or "Infinity"', 1.1).optional(),
      minCalls: z
        .int({ error: 'expected a whole number, 1 or more' })
        .min(1, 'expected a whole number, 1 or more')
        .optional(),
      intervalMs: ms(10).optional(),
      ejectionMs: ms(1).optional(),
      maxEjectionMs: ms(1).optional(),
      maxEjectedRatio: ratio.optional(),
      slowStartMs: ms(0).optional(),
    },
    'an object',
  ).optional(),
  drainMs: ms(0).optional(),
  mirror: known(
    { to: reach, ratio: ratio.optional(), compare: z.boolean({ error: 'expected true or false' }).optional() },
    'an object with to',
  ).optional(),
  canary: known({ to: reach, ratio: ratio.optional() }, 'an object with to').optional(),
} as const;

/** One target as it stands in a file; a server that is one, too. */
export type WrittenReach = {
  readonly [K in keyof typeof reach.shape]?: z.infer<(typeof reach.shape)[K]> | undefined;
};
export const TARGET_FIELDS: ReadonlySet<string> = new Set(Object.keys(target.shape));

/** The settings of them that hold no target. */
export const SEVERAL_FIELDS = ['balance', 'zone', 'hedge', 'retryRatio', 'outliers', 'drainMs'] as const;

export const severalSchema = z.object(SEVERAL_SHAPE);
