// Compares servers of npm, each straight and through the gateway in both sharing modes, and writes docs/servers.md.
// `--server=TEXT` takes those whose name holds TEXT and writes nothing. What is not there is got first, into a temporary
// folder, without running anything of it.
import { writeFileSync } from 'node:fs';
import { compareServer, type ServerReport } from './compareServer.js';
import { REASONS, unexplained } from './reasons.js';
import { install, SERVERS, startOf } from './SERVERS.js';

const wanted = process.argv.find((arg) => arg.startsWith('--server='))?.slice('--server='.length);
const reports: ServerReport[] = [];
for (const server of SERVERS.filter(({ name }) => wanted === undefined || name.includes(wanted))) {
  install(server);
  const report = await compareServer(server, startOf(server), true);
  reports.push(report);
  console.error(`${server.name}: ${report.fields} fields, ${report.unsteady.length} unsteady`);
  for (const [sharing, differs] of Object.entries(report.differs)) {
    for (const each of differs) console.error(`  ${sharing}: ${each}`);
  }
}

const count = (seen: unknown, kind: string): number =>
  Array.isArray(seen) ? seen.flatMap((page) => (page as Record<string, unknown[]>)[kind] ?? []).length : 0;
const cell = (report: ServerReport, sharing: 'shared' | 'bound'): string => {
  const { length } = report.differs[sharing];
  const open = unexplained(report.differs[sharing]).length;
  return length === 0 ? 'the same' : open === 0 ? `${length} meant` : `${open} DIFFER`;
};

const lines = [
  '# Real servers',
  '',
  'Made by `npm run fidelity`: servers of npm that start without a network, each seen straight over stdio and through the',
  'gateway (`/servers/:name/mcp`) in both sharing modes, and compared value by value: `initialize`, every page of every list with all',
  'schemas and annotations, the first resources and prompts, a call, calls of a tool and a method that are not there, the log level, `ping`;',
  'errors with code, message and data. A call that would need the network fails, and has to fail the same.',
  '',
  '| server | tools | resources | prompts | values compared | `shared` | `bound` |',
  '|---|---|---|---|---|---|---|',
  ...reports.map((report) => {
    const { server, seen, fields, unsteady } = report;
    const lists = [
      count(seen['tools/list'], 'tools'),
      count(seen['resources/list'], 'resources') + count(seen['resources/templates/list'], 'resourceTemplates'),
      count(seen['prompts/list'], 'prompts'),
    ];
    const note = unsteady.length === 0 ? '' : ` (${unsteady.length} not)`;
    return `| ${server.name} ${server.version} | ${lists.join(' | ')} | ${fields}${note} | ${cell(report, 'shared')} | ${cell(report, 'bound')} |`;
  }),
  '',
  '*not*: values that are not the same straight from one process to the next, either, such as times and addresses.',
  '',
  '## Differences that are meant',
  '',
  ...REASONS.filter(({ path }) =>
    reports.some(({ differs }) => [...differs.shared, ...differs.bound].some((each) => path.test(each))),
  ).map(({ why }) => `- ${why}`),
];
const page = `${lines.join('\n')}\n`;
console.log(page);
if (wanted === undefined) writeFileSync('docs/servers.md', page);
const open = reports.flatMap(({ differs }) => unexplained([...differs.shared, ...differs.bound]));
process.exit(open.length === 0 ? 0 : 1);
