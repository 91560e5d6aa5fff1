import { checkArray, checkOptions } from '../../core/options.js';
import type { BenchReport } from './results.js';

/** A report as `runBench` makes it, as far as a look tells. @throws OptionError */
export function checkReport(option: string, report: BenchReport): BenchReport {
  const expected = 'a report of runBench';
  const { machine, steps, notes, judgements } = checkOptions(option, report, expected);
  checkOptions(`${option}.machine`, machine, expected);
  for (const [name, list] of Object.entries({ steps, notes, judgements })) {
    checkArray<unknown>(`${option}.${name}`, list, expected);
  }
  return report;
}
