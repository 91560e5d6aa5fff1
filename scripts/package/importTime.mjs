// How long the imports of the package take beside bare Node and the SDK: each is a process of its own, all in turns, so that the
// machine's moods meet all alike. Prints a table; the figures of docs/package.md are made by it.
//   node scripts/package/importTime.mjs [turns] [folder of a program that has mcp-poolkit installed]
import { spawnSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const turns = Number(process.argv[2] ?? 15);
const cwd = resolve(process.argv[3] ?? fileURLToPath(new URL('../..', import.meta.url)));
const SUBPATHS = ['concurrent', 'pool', 'gateway', '', 'shutdown', 'registry'];
const imports = [
  undefined,
  ...SUBPATHS.map((name) => ['mcp-poolkit', name].filter((part) => part !== '').join('/')),
  'zod',
  '@modelcontextprotocol/client',
  '@modelcontextprotocol/sdk/client/index.js',
];
const figures = new Map(imports.map((name) => [name, { wall: [], cpu: [] }]));

for (let turn = 0; turn < turns; turn++) {
  for (const [name, { wall, cpu }] of figures) {
    const load = name === undefined ? '' : `await import('${name}');`;
    const program = `${load} const { user, system } = process.cpuUsage(); console.log((user + system) / 1000);`;
    const started = performance.now();
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd,
      encoding: 'utf8',
    });
    wall.push(performance.now() - started);
    if (status === 0) cpu.push(Number(stdout));
  }
}

const sorted = (values) => values.sort((a, b) => a - b);
const median = (values) => Math.round(sorted(values)[Math.floor(values.length / 2)]);
console.log(`Node ${process.version}, ${turns} turns, load ${loadavg()[0].toFixed(1)}`);
console.log('| import | wall, ms: median | least | CPU, ms: median | least |\n|---|---|---|---|---|');
for (const [name = 'nothing', { wall, cpu }] of figures) {
  if (cpu.length < turns) continue; // it is not installed
  console.log(`| \`${name}\` | ${median(wall)} | ${Math.round(wall[0])} | ${median(cpu)} | ${Math.round(cpu[0])} |`);
}
