import { sync as writeFileAtomicSync } from 'write-file-atomic';
import { messageOf, OptionError } from '../../core/errors.js';
import { readWholeSync } from '../../core/files/readWhole.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import type { FaultPlanParts } from '../faults/FaultPlan.js';
import type { PlanState } from '../faults/rule/RuleTally.js';

/** A plan's parts that keep how far it is in a file, so that the next process goes on from there. @throws OptionError */
export function planState(file: string | undefined, logger: Logger = silentLogger): FaultPlanParts {
  if (file === undefined) return { logger };
  const onState: NonNullable<FaultPlanParts['onState']> = (state) =>
    writeFileAtomicSync(file, JSON.stringify(state), { fsync: false });
  let text: string;
  try {
    text = readWholeSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw notOurs(file, error);
    return { logger, onState };
  }
  try {
    return { logger, onState, state: stateIn(text) };
  } catch (error) {
    throw notOurs(file, error);
  }
}

function stateIn(text: string): PlanState {
  const state = JSON.parse(text) as Partial<PlanState> | null;
  const { rules, draws, counts } = state ?? {};
  if (Array.isArray(rules) && Array.isArray(draws) && counts instanceof Object) return state as PlanState;
  throw new Error('it has no rules, draws and counts');
}

const notOurs = (file: string, error: unknown): OptionError =>
  new OptionError('stateFile', file, `a file that it has written, or none yet: ${messageOf(error)}`, error);
