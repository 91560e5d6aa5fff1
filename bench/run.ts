import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { writeBenchmarks } from './benchmarks.js';
import { Bench, type Report } from './harness.js';

/**
 * `npm run bench -- [name ... | --all] [--quick] [--json | --html docs/benchmarks.html]`: every bench file, or those named, each in a
 * process of its own. `--html` writes that page and, beside it, the same as Markdown with its charts. A bench file exports
 * `async function suite(bench: Bench)`.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    html: { type: 'string' },
    one: { type: 'string' },
  },
});

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

if (values.one !== undefined) {
  const stopping = new AbortController();
  for (const signal of SIGNALS) process.on(signal, () => stopping.abort(new Error(`ended by ${signal}`)));
  const bench = new Bench(values.one, {
    quick: values.quick,
    stopping: stopping.signal,
    print: (line) => (values.json ? undefined : console.log(line)),
  });
  const { suite } = (await import(`./${values.one}.bench.js`)) as { suite: (bench: Bench) => Promise<void> };
  try {
    await suite(bench);
  } finally {
    bench.printTargets();
  }
  if (values.json) console.log(JSON.stringify(bench.report));
} else {
  const all = readdirSync(import.meta.dirname).flatMap((file) => /^(.+)\.bench\.js$/.exec(file)?.[1] ?? []);
  const unknown = positionals.filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    console.error(`no bench named ${unknown.join(', ')}; there are ${all.join(', ')}`);
    process.exit(2);
  }
  const chosen = values.all || positionals.length === 0 ? all : positionals;
  const asJson = values.json || values.html !== undefined;
  const startedAt = new Date().toISOString().slice(0, 16).replace('T', ' ');
  const reports: Report[] = [];
  for (const one of chosen) {
    if (values.html !== undefined) console.error(`== ${one}`);
    else if (!values.json) console.log(`\n== ${one} (node ${process.version})`);
    const flags = [...(values.quick ? ['--quick'] : []), ...(asJson ? ['--json'] : [])];
    const { status, stdout } = await runOne(one, flags, asJson);
    if (status !== 0) process.exit(status);
    if (asJson) reports.push(JSON.parse(stdout) as Report);
    if (values.html !== undefined) write(values.html, reports, startedAt);
  }
  if (values.html !== undefined) console.error(`written to ${values.html}, and as Markdown beside it`);
  if (values.json) console.log(JSON.stringify(reports, undefined, 2));
}

/** A bench in a process of its own. A signal that ends this one is passed on: what the bench started is the bench's to end. */
async function runOne(
  one: string,
  flags: readonly string[],
  piped: boolean,
): Promise<{ status: number; stdout: string }> {
  const args = ['--expose-gc', '--no-warnings', import.meta.filename, '--one', one, ...flags];
  const child = spawn(process.execPath, args, { stdio: ['ignore', piped ? 'pipe' : 'inherit', 'inherit'] });
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  let stdout = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  for (const signal of SIGNALS) process.removeAllListeners(signal);
  return { status: code ?? 1, stdout };
}

/** Writes the page of what was measured so far: a run that fails late has not been for nothing. */
function write(file: string, reports: readonly Report[], startedAt: string): string[] {
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`;
  const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores`;
  const made = `${machine}, ${process.platform}, Node ${process.version}, begun ${startedAt} UTC`;
  return writeBenchmarks(file, reports, { command, made, quick: values.quick });
}
