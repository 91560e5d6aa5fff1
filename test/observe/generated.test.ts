import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { METRICS } from '../../src/observe/index.js';

/** Names of metrics in an expression, those of a histogram's series without their ends. */
const namesIn = (expr: string): string[] =>
  [...expr.matchAll(/\bmcp_poolkit_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ''));

const known: readonly string[] = METRICS.map(({ name }) => name);

test('the dashboard, the alert rules and the table are what the list of metrics makes', () => {
  expect(existsSync('dist/observe/index.js')).toBe(true);
  const { status, stderr } = spawnSync(process.execPath, ['scripts/observability.mjs', '--check'], {
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
});

test('each panel and each rule is of metrics that there are, and of labels that they have', () => {
  const { panels } = JSON.parse(readFileSync('deploy/grafana-dashboard.json', 'utf8')) as {
    readonly panels: readonly {
      readonly id: number;
      readonly type: string;
      readonly targets?: readonly { readonly expr: string }[];
    }[];
  };
  const { groups } = parse(readFileSync('deploy/alerts.yaml', 'utf8')) as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
  };
  const exprs = [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...groups.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
  ];
  expect(exprs.length).toBeGreaterThan(20);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  for (const expr of exprs) {
    const names = namesIn(expr);
    expect(names.length, expr).toBeGreaterThan(0);
    expect(
      names.filter((name) => !known.includes(name)),
      expr,
    ).toEqual([]);
    // A histogram is asked for by its series, the others by their own name.
    for (const [full] of expr.matchAll(/\bmcp_poolkit_\w+/g)) {
      const spec = METRICS.find(({ name }) => name === full.replace(/_(bucket|sum|count)$/, ''));
      expect(spec?.type === 'histogram', full).toBe(/_(bucket|sum|count)$/.test(full));
      const labels: readonly string[] = spec?.labels ?? [];
      for (const [, used = ''] of expr.matchAll(/by \(([^)]*)\)/g)) {
        const own = used
          .split(',')
          .map((each) => each.trim())
          .filter((each) => each !== 'le' && each !== 'instance');
        expect(
          own.filter((each) => !labels.includes(each)),
          expr,
        ).toEqual([]);
      }
    }
    expect([...expr].filter((char) => char === '(').length).toBe([...expr].filter((char) => char === ')').length);
  }
  expect(readFileSync('docs/observability.md', 'utf8')).toContain('| `mcp_poolkit_calls_total` | counter |');
});
