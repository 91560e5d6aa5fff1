import { OptionError, ServerNotFoundError } from '../../core/errors.js';
import { builtFile } from '../../core/files/packageFiles.js';
import { nearNames } from '../../core/nearNames.js';
import { checkOptions, checkText } from '../../core/options.js';
import { withoutSecrets } from '../../core/text/withoutSecrets.js';
import { readConfigFile } from '../../registry/config/configFile.js';
import type { Era, ServerConfig } from '../../registry/config/ServerConfig.js';
import { serviceTime } from '../reference/serviceTime.js';

/** What is measured: one server, however it is reached. Plain data, so that workers can be told of it. */
export interface TargetSpec {
  /** How tables name it. */
  readonly label: string;
  readonly config: ServerConfig;
  /** A command that is run before and ended after: a proxy or server behind the target's URL. */
  readonly start?: string;
}

export interface TargetOptions {
  /** A config file to look names up in. @defaultValue none */
  readonly config?: string;
  /** Sent with each request to a URL, for example `{ authorization: 'Bearer …' }`. @defaultValue none */
  readonly headers?: Readonly<Record<string, string>>;
  /** Of a URL. @defaultValue found out */
  readonly transport?: 'http' | 'sse';
  /** The protocol's era. @defaultValue the transport's own default */
  readonly era?: Era;
  /** How tables name it. @defaultValue the target's text, without secrets */
  readonly label?: string;
  /** A command to run before, such as the proxy behind the URL, ended after. @defaultValue none */
  readonly start?: string;
}

/**
 * A target from what a user writes: a URL, the name of a server in a config file, `reference` or `reference:SERVICE` for the
 * built-in reference server (see `ReferenceServer`), or a command line for stdio.
 * @throws OptionError for a text that is none of them; ConfigError for a config that cannot be read; ServerNotFoundError with the nearest names of the config.
 */
export async function parseTarget(text: string, options: TargetOptions = {}): Promise<TargetSpec> {
  checkText('target', text);
  const { headers, transport, era, label, start } = checkOptions('parseTarget', options);
  const shown = withoutSecrets(text);
  const more = { ...(start !== undefined && { start }) };
  if (/^https?:\/\//i.test(text)) {
    if (!URL.canParse(text)) throw new OptionError('target', shown, 'a URL such as http://127.0.0.1:3000/mcp');
    const config = {
      name: nameOf(shown),
      url: text,
      ...(transport !== undefined && { transport }),
      ...(headers !== undefined && { headers }),
      ...(era !== undefined && { era }),
    } as ServerConfig;
    return { label: label ?? shown, config, ...more };
  }
  if (options.config !== undefined) {
    const { servers, problems } = await readConfigFile(options.config);
    const found = servers.find(({ name }) => name === text);
    if (found !== undefined) {
      return { label: label ?? text, config: { ...found, enabled: true, ...(era !== undefined && { era }) }, ...more };
    }
    const problem = problems.find(({ server }) => server === text);
    if (problem !== undefined) throw problem;
    if (!/\s/.test(text)) {
      // A file that cannot be read names no server: that it cannot is what helps.
      const whole = problems.find(({ server }) => server === undefined);
      if (whole !== undefined) throw whole;
      const names = servers.map(({ name }) => name);
      throw new ServerNotFoundError(text, nearNames(text, names));
    }
  }
  const [command, ...args] = /^reference(:|$)/.test(text) ? referenceCommand(text) : splitCommand(text);
  if (command === undefined) throw new OptionError('target', shown, 'a URL, a server of --config, or a command line');
  const config: ServerConfig = {
    name: nameOf(shown),
    transport: 'stdio',
    command,
    args,
    ...(era !== undefined && { era }),
  };
  return { label: label ?? shown, config, ...more };
}

const MAX_NAME = 100;

/** What errors call the server: the target as it was written, as far as a name may go. */
function nameOf(text: string): string {
  const short = text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text;
  return short.replace(/[\p{Cc}\p{Cs}]/gu, ' ').trim();
}

function referenceCommand(text: string): string[] {
  const service = text.slice('reference:'.length) || 'none';
  serviceTime(service);
  return [
    process.execPath,
    builtFile('bench/reference/main.js', new URL('../reference/', import.meta.url).href),
    service,
  ];
}

/** The words of a command line, quotes as a POSIX shell reads them; nothing is expanded. */
export function splitCommand(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const char = text[i] as string;
    if (quote !== '') {
      if (char === quote) quote = '';
      else if (char === '\\' && quote === '"' && '"\\'.includes(text[i + 1] ?? '')) word = `${word ?? ''}${text[++i]}`;
      else word = `${word ?? ''}${char}`;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (char === '\\' && i + 1 < text.length) word = (word ?? '') + text[++i];
    else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + char;
  }
  if (quote !== '') throw new OptionError('target', withoutSecrets(text), `a closing ${quote}`);
  if (word !== undefined) words.push(word);
  return words;
}
