import { spawnSync } from 'node:child_process';
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

if (values.one !== undefined) {
  const bench = new Bench(values.one, {
    quick: values.quick,
    print: (line) => (values.json ? undefined : console.log(line)),
  });
  const { suite } = (await import(`./${values.one}.bench.js`)) as { suite: (bench: Bench) => Promise<void> };
  await suite(bench);
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
    const { status, stdout } = spawnSync(
      process.execPath,
      ['--expose-gc', '--no-warnings', import.meta.filename, '--one', one, ...flags],
      { stdio: ['ignore', asJson ? 'pipe' : 'inherit', 'inherit'], encoding: 'utf8', maxBuffer: 2 ** 26 },
    );
    if (status !== 0) process.exit(status ?? 1);
    if (asJson) reports.push(JSON.parse(stdout) as Report);
  }
  if (values.json) console.log(JSON.stringify(reports, undefined, 2));
  if (values.html !== undefined) {
    const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`;
    const machine = `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores`;
    const made = `${machine}, ${process.platform}, Node ${process.version}, begun ${startedAt} UTC`;
    for (const file of writeBenchmarks(values.html, reports, { command, made, quick: values.quick }))
      console.error(file);
  }
}
