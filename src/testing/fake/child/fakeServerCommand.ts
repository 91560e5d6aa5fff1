import { OptionError } from '../../../core/errors.js';
import { builtFile } from '../../../core/files/packageFiles.js';
import { FaultPlan } from '../../faults/FaultPlan.js';
import { History } from '../../history/History.js';
import { type FakeServerOptions, fakeServerSettings } from '../FakeServerOptions.js';

/** What of a fake server's options another process can be given. */
export type FakeServerData = Omit<FakeServerOptions, 'onEvent' | 'logger'>;

/** A command line, as a stdio server's config has it. */
export interface FakeServerCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/**
 * The command line of a fake server in a process of its own, over stdio. Its events are in `eventsFile`; give it a
 * `stateFile` too, and a restarted process goes on in the plan where the last one was. @throws OptionError
 */
export function fakeServerCommand(options: FakeServerData = {}): FakeServerCommand {
  fakeServerSettings(options);
  const { plan, replay } = options;
  if (replay instanceof History) throw new OptionError('replay', replay, 'the name of its file, for another process');
  const data = { ...options, ...(plan !== undefined && { plan: plan instanceof FaultPlan ? plan.toJSON() : plan }) };
  const main = builtFile('testing/fake/child/main.js', import.meta.url);
  return { command: process.execPath, args: [main, JSON.stringify(data)] };
}
