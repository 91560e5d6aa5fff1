import { messageOf } from '../../core/errors.js';
import { readWhole } from '../../core/files/readWhole.js';
import { isSource, linesOf, secretText } from '../secretText.js';

/**
 * The secrets that `--session-key` names: `env:NAME` is a variable of the environment, anything else a file, also as `@FILE`; each has one
 * secret a line. None may stand on the command line itself, where every user of the machine could read it.
 */
export async function readSessionKeys(sources: readonly string[] | undefined): Promise<readonly string[] | undefined> {
  if (sources === undefined) return undefined;
  const texts = await Promise.all(sources.map(async (source) => keysOf(source, await textOf(source))));
  return texts.flat();
}

async function textOf(source: string): Promise<string> {
  if (isSource(source)) return secretText('--session-key', source);
  try {
    return await readWhole(source);
  } catch (error) {
    throw new Error(`--session-key ${source}: the file cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function keysOf(source: string, text: string): readonly string[] {
  const secrets = linesOf(text);
  if (secrets.length === 0) throw new Error(`--session-key ${source}: there is no key in it`);
  return secrets;
}
