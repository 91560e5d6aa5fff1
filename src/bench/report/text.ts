import { checkReport } from './checkReport.js';
import { columns } from './format.js';
import type { BenchReport } from './results.js';
import { type Table, tablesOf } from './tables.js';

/** The report for a terminal or a pipe: plain text, verdicts last. Without `processes` no line for each process. */
export function textReport(report: BenchReport, { processes = true }: { readonly processes?: boolean } = {}): string {
  const { machine, startedAt } = checkReport('report', report);
  const shown = tablesOf(report).filter(({ kind }) => processes || kind !== 'processes');
  const lines = (tables: readonly Table[]): string[] =>
    tables.flatMap(({ title, head, rows }) => ['', title, ...columns([head, ...rows]).map((line) => `  ${line}`)]);
  const notes = report.notes.map((note) => `note: ${note}`);
  return [
    `${report.tool} on ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${startedAt}`,
    ...lines(shown.filter(({ kind }) => kind !== 'verdicts')),
    ...(notes.length > 0 ? ['', ...notes] : []),
    ...lines(shown.filter(({ kind }) => kind === 'verdicts')),
    '',
  ].join('\n');
}

/** The report as Markdown tables, for a pull request. */
export function markdownReport(report: BenchReport): string {
  const { machine, startedAt, command } = checkReport('report', report);
  const tables = tablesOf(report).flatMap((table) => ['', `#### ${table.title}`, '', ...markdownTable(table)]);
  return [
    `\`${command}\``,
    '',
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${startedAt}`,
    ...tables,
    ...report.notes.flatMap((note) => ['', `> ${note}`]),
    '',
  ].join('\n');
}

/** The lines of a Markdown table: the first column to the left, the others to the right. */
export function markdownTable({ head, rows }: Table): string[] {
  const cell = (text: string): string =>
    text.replaceAll('\\', '\\\\').replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '&lt;');
  const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [row(head), `|${head.map((_, i) => (i === 0 ? '---' : '---:')).join('|')}|`, ...rows.map(row)];
}

/** The thresholds and verdicts as JUnit XML: a test case each. */
export function junitReport(report: BenchReport): string {
  const cases = [
    ...checkReport('report', report).judgements.map(({ criterion, step, value, kept }) => ({
      name: `${criterion}: ${step}`,
      failure: kept ? undefined : `value ${value}`,
    })),
    ...report.steps.map((step) => ({
      name: `every answer is right: ${step.target}, ${step.workload}, ${step.model}`,
      failure:
        step.all.calls > 0 && step.all.errorRatio === 0
          ? undefined
          : `${step.all.calls} answered, errors ${JSON.stringify(step.all.errors)}`,
    })),
  ];
  const failures = cases.filter(({ failure }) => failure !== undefined).length;
  const body = cases.map(({ name, failure }) =>
    failure === undefined
      ? `  <testcase classname="mcp-poolkit.bench" name="${xml(name)}"/>`
      : `  <testcase classname="mcp-poolkit.bench" name="${xml(name)}"><failure message="${xml(failure)}"/></testcase>`,
  );
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="mcp-poolkit bench" tests="${cases.length}" failures="${failures}">`,
    ...body,
    '</testsuite>',
    '',
  ].join('\n');
}

/** Text for XML and HTML, attributes too. Control characters, which XML forbids, are left out. */
export function xml(text: string): string {
  const clean = [...text].filter((char) => char >= ' ' || char === '\n' || char === '\t').join('');
  return clean
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
