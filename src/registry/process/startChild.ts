import type { ChildProcess, ChildProcessWithoutNullStreams } from 'node:child_process';
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import spawn from 'cross-spawn';
import { StartError } from '../../core/errors.js';
import { COMMAND_LINE_HINT } from '../../core/text/commandLine.js';
import { type ChildStdio, childStdio } from './descriptors.js';
import { childEnvironment } from './environment.js';

/** What to run. */
export interface SpawnConfig {
  /** The program: a path or a name on PATH. Never a shell line. */
  readonly command: string;
  /** Its arguments. @defaultValue [] */
  readonly args?: readonly string[];
  /** Added to what is inherited; wins over it. @defaultValue {} */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory. @defaultValue this process's own */
  readonly cwd?: string;
  /**
   * Variables of this process that the child gets beyond the allow-list `INHERITED_ENV`; `NAME_*` is a prefix.
   * @defaultValue []
   */
  readonly inheritEnv?: readonly string[];
}

/** Resolves in the turn after the system has started it: the child cannot have been reaped yet. */
export async function startChild(
  name: string,
  config: SpawnConfig,
  token: string,
): Promise<{ readonly child: ChildProcessWithoutNullStreams; readonly pid: number }> {
  let child: ChildProcessWithoutNullStreams;
  let descriptors: ChildStdio | undefined;
  try {
    descriptors = childStdio();
    child = spawn(config.command, [...(config.args ?? [])], {
      env: childEnvironment(config, token),
      ...(config.cwd === undefined ? {} : { cwd: config.cwd }),
      stdio: [...descriptors.stdio],
      shell: false,
      // On Windows `detached` opens a console window and makes no group.
      detached: process.platform !== 'win32',
      windowsHide: true,
    }) as ChildProcess as ChildProcessWithoutNullStreams;
  } catch (error) {
    throw new StartError(name, explain(error, config), {}, error);
  } finally {
    descriptors?.[Symbol.dispose]();
  }
  const { pid } = child;
  if (pid !== undefined) return { child, pid };
  const error = await new Promise<Error>((resolve) => child.once('error', resolve));
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
  throw new StartError(name, explain(error, config), {}, error);
}

/** Why nothing can run in a folder, where that is known. */
function folderProblem(path: string): string | undefined {
  if (!existsSync(path)) return 'does not exist';
  if (!isFolder(path)) return 'is no folder';
  try {
    accessSync(path, constants.X_OK);
    return undefined;
  } catch {
    return 'may not be entered';
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** The system says the same of the program and of the folder that it is to run in. */
function explain(error: unknown, config: SpawnConfig): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const command = JSON.stringify(config.command);
  const badFolder = config.cwd !== undefined && folderProblem(config.cwd);
  if (badFolder) return `its working directory ${JSON.stringify(config.cwd)} ${badFolder}`;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const line = /\s/.test(config.command) && (config.args ?? []).length === 0;
    return `no program ${command} was found${line ? `: ${COMMAND_LINE_HINT}` : ''}`;
  }
  if (code === 'EACCES')
    return `${command} ${isFolder(resolve(config.cwd ?? '', config.command)) ? 'is a folder' : 'may not be executed'}`;
  if (code === 'EMFILE' || code === 'ENFILE')
    return `too many files are open (${code}, see ulimit -n) to run ${command}`;
  if (code === 'EAGAIN') return `too many processes run (${code}, see ulimit -u) to run ${command}`;
  return `${command}: ${message}`;
}
