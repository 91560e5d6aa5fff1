import { StartError, UnauthorizedError } from '../../core/errors.js';
import type { ServerConfig, SeveralServersConfig, UrlServerConfig } from '../../registry/config/ServerConfig.js';
import { isSeveral, targetsOf } from '../../registry/config/targets/targetsOf.js';

/** What to do about a server that does not start: one line. */
export function adviceFor(config: ServerConfig, error: unknown): string {
  if (isSeveral(config)) return adviceForTargets(config, error);
  const causes = causesOf(error);
  const text = causes.map((each) => each.message).join(' ');
  const codes = new Set(causes.map((each) => (each as NodeJS.ErrnoException).code));
  if (config.transport === 'stdio') return adviceForProgram(config, codes, text, startErrorIn(causes));
  return adviceForSignIn(config, causes) ?? adviceForStream(config, causes) ?? adviceForUrl(config.url, codes, text);
}

/** Their failures stand in the order of the targets. */
function adviceForTargets(config: SeveralServersConfig, error: unknown): string {
  const { cause } = error as { readonly cause?: unknown };
  const errors: readonly unknown[] = cause instanceof AggregateError ? cause.errors : [error];
  const advice = targetsOf(config).map(({ config: each }, index) => adviceFor(each, errors[index] ?? errors[0]));
  return [...new Set(advice)].slice(0, 3).join('; ');
}

function adviceForProgram(
  { command, args = [], cwd }: Extract<ServerConfig, { transport: 'stdio' }>,
  codes: ReadonlySet<string | undefined>,
  text: string,
  start: StartError | undefined,
): string {
  const line = [command, ...args]
    .map((each) => (/^[\w@%+=:,./-]+$/.test(each) ? each : JSON.stringify(each)))
    .join(' ');
  if (/working directory|cwd|ENOTDIR/i.test(text) && cwd !== undefined) return `make the folder ${cwd}, or correct cwd`;
  if (codes.has('ENOENT')) {
    if (/\s/.test(command)) return 'the first word is the command: put the others into args';
    return `install ${command}, or give its full path: a program of the desktop may have another PATH than your shell`;
  }
  if (codes.has('EACCES')) return `allow it to run: chmod +x ${command}`;
  if (codes.has('ENOEXEC'))
    return `it is no program of this system: give the interpreter as command, and ${command} as its first argument`;
  if (start?.stdout !== undefined) {
    return 'it wrote something to stdout that is no protocol: is it an MCP server over stdio? Its log belongs on stderr';
  }
  if (start !== undefined && (typeof start.exitCode === 'number' || typeof start.signal === 'string')) {
    const hint = /Cannot find module|ModuleNotFound|No module named/i.test(text)
      ? 'install what it lacks'
      : 'see what it says';
    return `it ended by itself: ${hint}; run it by hand: ${line}`;
  }
  if (/timed out|too long|within|timeout/i.test(text)) {
    return `it did not answer in time: is it an MCP server over stdio? A first download by npx or uvx takes long: run it by hand once (${line}), or raise startTimeoutMs`;
  }
  return `run it by hand: ${line}`;
}

/** Undefined where signing in is not what it lacks. */
function adviceForSignIn({ name, auth }: UrlServerConfig, causes: readonly Error[]): string | undefined {
  const run = `run mcp-poolkit auth ${name}`;
  const refused = causes.find((each) => each instanceof UnauthorizedError);
  if (auth !== undefined) return refused === undefined || auth.grant === 'client_credentials' ? undefined : run;
  // It says where its sign-in is described (RFC 9728).
  if (!/resource_metadata=/.test(refused?.challenge ?? '')) return undefined;
  return `it wants a sign-in: write "auth": { "type": "oauth" } into its entry, then ${run}`;
}

const OVER_SSE = /over SSE: (.*?)(?:; over Streamable HTTP: |$)/s;
const LATE = 'it did not answer in time: see whether it hangs, or raise startTimeoutMs';

/** Of an event stream that was there, as older servers have it: what else was tried at that URL does not matter then. */
function adviceForStream({ transport }: UrlServerConfig, causes: readonly Error[]): string | undefined {
  const messages = causes.map(({ message }) => message);
  const tried = messages.map((each) => OVER_SSE.exec(each)?.[1]).find((said) => said !== undefined);
  const said = (transport === 'sse' ? messages[0] : tried) ?? '';
  const [, origin] = /endpoint is not on its own origin: (\S+)/.exec(said) ?? [];
  if (origin !== undefined) {
    return /^https?:/.test(origin)
      ? `its event stream wants messages at ${origin}: write that in url, or have the server name a path alone`
      : 'its event stream names no place that messages could go to: the server is at fault';
  }
  if (/answered (?!GET\b)\S+ with 40[45]/.test(said))
    return 'its event stream is there, and nothing where that wants messages: see whether a proxy before it cuts off a part of the path';
  return /it was not ready within/.test(said) ? LATE : undefined;
}

function adviceForUrl(url: string, codes: ReadonlySet<string | undefined>, text: string): string {
  const { hostname, origin, pathname } = new URL(url);
  if (codes.has('ENOTFOUND') || codes.has('EAI_AGAIN'))
    return `there is no host ${hostname}: correct url, or see the network`;
  if (codes.has('ECONNREFUSED')) return `nothing listens at ${origin}: start it, or correct the port`;
  if (/\b(401|403)\b|unauthorized|forbidden/i.test(text))
    return `give a token: "headers": { "Authorization": "Bearer \${YOUR_TOKEN}" }`;
  if (/certificate|CERT_|self-signed|TLS|SSL/i.test(text))
    return 'its certificate is not trusted: point NODE_EXTRA_CA_CERTS to the one that signed it';
  if (/\b404\b|\b405\b/.test(text)) {
    const others = ['most are at /mcp', 'older ones are at /sse'].filter((each) => !each.endsWith(` ${pathname}`));
    return `there is no MCP server at ${pathname}: ${others.join(', ')}`;
  }
  if (/timed out|too long|within|timeout/i.test(text)) return LATE;
  if (/\b5\d\d\b/.test(text)) return 'the server itself fails: see its log';
  return 'see whether url is that of an MCP server';
}

function causesOf(error: unknown): Error[] {
  const causes: Error[] = [];
  const pending = [error];
  for (let each = pending.pop(); each instanceof Error && causes.length < 16; each = pending.pop()) {
    causes.push(each);
    if (each.cause !== undefined) pending.push(each.cause);
    if (each instanceof AggregateError) for (const other of each.errors as unknown[]) pending.push(other);
  }
  return causes;
}

const startErrorIn = (causes: readonly Error[]): StartError | undefined =>
  causes.find((each) => each instanceof StartError) as StartError | undefined;
