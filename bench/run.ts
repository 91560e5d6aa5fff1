import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Bench, type Report } from './harness.js';

/**
 * `npm run bench -- [name ...] [--quick] [--json]`: every bench file, or those named, each in a process of its own.
 * A bench file exports `async function suite(bench: Bench)`.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
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
  const reports: Report[] = [];
  for (const one of positionals.length > 0 ? positionals : all) {
    if (!values.json) console.log(`\n== ${one} (node ${process.version})`);
    const flags = [...(values.quick ? ['--quick'] : []), ...(values.json ? ['--json'] : [])];
    const { status, stdout } = spawnSync(
      process.execPath,
      ['--expose-gc', '--no-warnings', import.meta.filename, '--one', one, ...flags],
      { stdio: ['ignore', values.json ? 'pipe' : 'inherit', 'inherit'], encoding: 'utf8', maxBuffer: 2 ** 26 },
    );
    if (status !== 0) process.exit(status ?? 1);
    if (values.json) reports.push(JSON.parse(stdout) as Report);
  }
  if (values.json) console.log(JSON.stringify(reports, undefined, 2));
}
