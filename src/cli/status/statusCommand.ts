import type { Command } from 'commander';
import { header, secretUrl } from '../arguments.js';
import { SECRET_HELP } from '../secretText.js';
import { DEFAULT_URL, type StatusSource } from './readStatus.js';
import type { StatusCommandOptions } from './status.js';

/** What a running gateway does, in the terminal. */
export function addStatus(program: Command): void {
  withSource(
    program
      .command('status')
      .description(
        'Show how the servers of a running gateway stand: state, calls, times, errors, restarts, what happened.',
      )
      .option('-w, --watch', 'again each second')
      .option('--json', 'print one JSON object a line, instead of text'),
  )
    .addHelpText('after', '\nExit code: 0; 1 when no gateway answers there.')
    .action(async (options: StatusCommandOptions) => (await import('./status.js')).status(options));
  withSource(program.command('top').description('The same on a screen of its own, until q.')).action(
    async (options: StatusSource) => (await import('./status.js')).top(options),
  );
}

function withSource(command: Command): Command {
  return command
    .option('-u, --url <url>', 'where the gateway is', secretUrl('--url'), DEFAULT_URL)
    .option(
      '-H, --header <header...>',
      `sent along, as 'Name: value': for a gateway that asks who wants to know; ${SECRET_HELP}`,
      header,
    );
}
