import type { ClientKind, Face } from './Face.js';
import { type Outcome, outcomeOf, STEPS, type StepContext } from './steps.js';
import { clientOf, type Target } from './targets.js';

/** By step: how it ended. A step that the client cannot do is missing. */
export type Run = ReadonlyMap<string, Outcome>;

/** The steps in which nothing is heard for long. */
export const LASTING = ['silent for 75 s', 'silent for 320 s'] as const;

const isLasting = (name: string): boolean => (LASTING as readonly string[]).includes(name);

/** Runs all steps but those that last. */
export async function runSteps(kind: ClientKind, target: Target, context: StepContext): Promise<Run> {
  const run = new Map<string, Outcome>();
  const face = await clientOf(kind, target.url, target.prefix);
  for (const step of STEPS.filter(({ name }) => !isLasting(name))) {
    run.set(step.name, await outcomeOf(() => step.run(face, context)));
  }
  return run;
}

/** One of the steps that last, by a client of its own. `slow`: by the target's slow URL. `oneByOne` takes the connects in turn. */
export async function runLasting(
  name: (typeof LASTING)[number],
  kind: ClientKind,
  target: Target,
  {
    slow,
    silenceMs,
    oneByOne = (connect) => connect(),
    ...context
  }: StepContext & {
    readonly slow: boolean;
    readonly silenceMs?: number;
    readonly oneByOne?: (connect: () => Promise<Face>) => Promise<Face>;
  },
): Promise<Run> {
  const step = STEPS.find((each) => each.name === name);
  if (step === undefined) throw new Error(`no step ${name}`);
  const url = slow ? target.slowUrl : target.url;
  const options = silenceMs === undefined ? {} : { silenceMs };
  const face = await oneByOne(() => clientOf(kind, url, target.prefix, options));
  const run = new Map([[name as string, await outcomeOf(() => step.run(face, context))]]);
  await face.close();
  return run;
}
