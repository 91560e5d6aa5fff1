import type { Command } from 'commander';
import { CHECK_DEFAULTS } from '../../testing/history/check.js';
import { RULES } from '../../testing/history/Violation.js';
import { files, whole } from '../arguments.js';
import type { CheckCommandOptions } from './check.js';

/** `mcp-poolkit check`: its arguments and help. What it needs is loaded when it runs. */
export function addCheck(program: Command): void {
  program
    .command('check')
    .description('Judge a history: lost, repeated or leaked calls, lies about what happened, what lives after close.')
    .argument('<history...>', 'files of JSON lines, as `record` and fake servers write them; - is stdin', files)
    .option('--except <rule...>', 'rules that are not asked')
    .option(
      '--cancel-slack <ms>',
      'how long after a cancel a server may still work on the call without having heard of it',
      whole(0, Number.MAX_SAFE_INTEGER),
      CHECK_DEFAULTS.cancelSlackMs,
    )
    .option('--json', 'print the verdict as JSON')
    .addHelpText(
      'after',
      `
The events of several files are put in the order of their times: the client's history and the effects of its servers.

Rules:
${Object.entries(RULES)
  .map(([rule, text]) => `  ${rule.padEnd(20)} ${text}`)
  .join('\n')}

Exit code: 0 when nothing was found; 1 when a history could not be read; 2 when it is guilty.`,
    )
    .action(async (files: string[], options: CheckCommandOptions) =>
      (await import('./check.js')).check(files, options),
    );
}
