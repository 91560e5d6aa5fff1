import { messageOf, OptionError } from '../../core/errors.js';
import { MAX_RECORDING_BYTES, readNamed, readStream } from '../../core/files/readWhole.js';
import { check as judge } from '../../testing/history/check.js';
import { History } from '../../testing/history/History.js';
import type { Rule } from '../../testing/history/Violation.js';
import { complain } from '../output/complain.js';
import { writeOut } from '../output/showResult.js';

export interface CheckCommandOptions {
  readonly except?: readonly string[];
  readonly cancelSlack: number;
  readonly json?: boolean;
}

/** `mcp-poolkit check`: 0 when nothing was found, 2 when something was, 1 when the history could not be read. */
export async function check(files: readonly string[], options: CheckCommandOptions): Promise<void> {
  try {
    const texts = await Promise.all(files.map(read));
    const history = History.parse(texts.join('\n'));
    if (history.events.length === 0)
      throw new OptionError('history', files.join(', '), 'events, one a line: it has none');
    const verdict = judge(history, {
      cancelSlackMs: options.cancelSlack,
      except: (options.except ?? []) as Rule[],
      label: files.join(', '),
    });
    await writeOut(`${options.json === true ? JSON.stringify(verdict) : String(verdict)}\n`);
    if (!verdict.ok) process.exitCode = 2;
  } catch (error) {
    complain(messageOf(error));
    process.exitCode = 1;
  }
}

function read(file: string): Promise<string> {
  return file === '-' ? readStream(process.stdin, MAX_RECORDING_BYTES) : readNamed(file, MAX_RECORDING_BYTES);
}
