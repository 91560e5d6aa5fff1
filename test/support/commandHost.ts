import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { fixture } from './servers.js';

const ROOT = resolve(import.meta.dirname, '../..');

export interface CommandRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs commands of which nothing is asked but what they say and their exit code, one after another in one process: the program is loaded once
 * for all tests of the file.
 */
export function commandHost(): CommandHost['run'] {
  let host: CommandHost;
  beforeAll(() => {
    host = new CommandHost();
  });
  afterAll(() => host.close());
  return (args, cwd) => host.run(args, cwd);
}

class CommandHost {
  readonly #child: ChildProcess = fork(fixture('commands.mjs'), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  #last: Promise<unknown> = Promise.resolve();

  run(args: readonly string[], cwd = ROOT): Promise<CommandRun> {
    const run = this.#last.then(async () => {
      const heard = once(this.#child, 'message');
      const ended = once(this.#child, 'exit').then(([code]) => Promise.reject(new Error(`it ended with ${code}`)));
      this.#child.send({ args, cwd });
      const [message] = (await Promise.race([heard, ended])) as [CommandRun];
      return message;
    });
    this.#last = run.catch(() => undefined);
    return run;
  }

  async close(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.disconnect();
    await exit;
  }
}
