// Writes what is made of the list of metrics: deploy/grafana-dashboard.json, deploy/alerts.yaml and the table of
// docs/observability.md. `--check` writes nothing and says what differs. It reads the built list: `npm run build` first.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { METRICS } from '../dist/observe/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const DOC = 'docs/observability.md';
const [BEGIN, END] = ['<!-- metrics: made by scripts/observability.mjs -->', '<!-- end of metrics -->'];
const datasource = { type: 'prometheus', uid: '\u0024{datasource}' };

function dashboard() {
  const panels = [];
  let y = 0;
  for (const row of ['Calls', 'Servers', 'Gateway']) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row,
      collapsed: false,
      gridPos: { x: 0, y, w: 24, h: 1 },
      panels: [],
    });
    y += 1;
    const drawn = METRICS.filter(({ panel }) => panel?.row === row);
    drawn.forEach(({ panel, help }, index) => {
      panels.push({
        id: panels.length + 1,
        type: 'timeseries',
        title: panel.title,
        description: help,
        datasource,
        gridPos: { x: (index % 3) * 8, y: y + Math.floor(index / 3) * 8, w: 8, h: 8 },
        fieldConfig: {
          defaults: { unit: panel.unit, min: 0, custom: { fillOpacity: 8, showPoints: 'never' } },
          overrides: [],
        },
        options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
        targets: [{ refId: 'A', datasource, expr: filtered(panel.expr), legendFormat: panel.legend }],
      });
    });
    y += Math.ceil(drawn.length / 3) * 8;
  }
  const dashboard = {
    title: 'mcp-poolkit',
    uid: 'mcp-poolkit',
    tags: ['mcp'],
    schemaVersion: 39,
    timezone: 'browser',
    time: { from: 'now-1h', to: 'now' },
    refresh: '30s',
    templating: {
      list: [
        { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source' },
        {
          name: 'server',
          type: 'query',
          label: 'Server',
          datasource,
          query: { query: 'label_values(mcp_poolkit_server_state, server)', refId: 'server' },
          multi: true,
          includeAll: true,
          allValue: '.*',
          refresh: 2,
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels,
  };
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}

/** The panels of calls and servers are those of the chosen servers. */
function filtered(expr) {
  return expr.replace(/\b(mcp_poolkit_(?!gateway|event_loop|info)\w+)\b(\{)?/g, (_, name, open) =>
    open === undefined ? `${name}{server=~"$server"}` : `${name}{server=~"$server",`,
  );
}

function alerts() {
  const rules = METRICS.flatMap(({ alert }) => (alert === undefined ? [] : [alert])).map(
    ({ name, expr, for: wait, severity, summary }) => ({
      alert: name,
      expr,
      for: wait,
      labels: { severity },
      annotations: { summary },
    }),
  );
  return `# Rules for Prometheus, made by scripts/observability.mjs.\n${stringify({ groups: [{ name: 'mcp-poolkit', rules }] }, { lineWidth: 0 })}`;
}

function table() {
  const rows = METRICS.map(({ name, type, labels, help }) => {
    const shown = labels.filter((label) => label !== 'principal').map((label) => `\`${label}\``);
    return `| \`${name}\` | ${type} | ${shown.join(', ')} | ${help.replaceAll('|', '\\|')} |`;
  });
  return [BEGIN, '', '| metric | type | labels | what it tells |', '|---|---|---|---|', ...rows, '', END].join('\n');
}

function documented() {
  const text = readFileSync(`${root}/${DOC}`, 'utf8');
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${DOC} has no place for the table of metrics`);
  return text.slice(0, from) + table() + text.slice(to + END.length);
}

const made = { 'deploy/grafana-dashboard.json': dashboard(), 'deploy/alerts.yaml': alerts(), [DOC]: documented() };
for (const [file, text] of Object.entries(made)) {
  if (!process.argv.includes('--check')) writeFileSync(`${root}/${file}`, text);
  else if (readFileSync(`${root}/${file}`, 'utf8') !== text) {
    console.error(`${file} is not what the list of metrics makes: node scripts/observability.mjs`);
    process.exitCode = 1;
  }
}
