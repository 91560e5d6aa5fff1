import { messageOf } from '../../core/errors.js';
import { readWhole } from '../../core/files/readWhole.js';

/**
 * The secrets that `--session-key` names: `env:NAME` is a variable of the environment, anything else a file; each has one secret a
 * line. A secret on the command line itself could be read by every user of the machine.
 */
export async function readSessionKeys(sources: readonly string[] | undefined): Promise<readonly string[] | undefined> {
  if (sources === undefined) return undefined;
  const texts = await Promise.all(sources.map(async (source) => linesOf(source, await textOf(source))));
  return texts.flat();
}

async function textOf(source: string): Promise<string | undefined> {
  if (source.startsWith('env:')) {
    const name = source.slice('env:'.length);
    // `__proto__` and its like are no variables.
    return Object.hasOwn(process.env, name) ? process.env[name] : undefined;
  }
  try {
    return await readWhole(source);
  } catch (error) {
    throw new Error(`--session-key ${source}: the file cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function linesOf(source: string, text = ''): readonly string[] {
  const lines = text.split('\n').map((line) => line.trim());
  const secrets = lines.filter((line) => line !== '');
  if (secrets.length === 0) throw new Error(`--session-key ${source}: there is no key in it`);
  return secrets;
}
