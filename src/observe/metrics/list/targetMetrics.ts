import { type MetricSpec, RATE } from './MetricSpec.js';

/** How the calls of servers with several targets are spread. There are at most 64 targets of a server, and no secret is in their names. */
export const TARGET_METRICS = [
  {
    name: 'mcp_poolkit_target_picks_total',
    type: 'counter',
    help: 'Calls that the target was chosen for, while it is a target.',
    labels: ['server', 'target'],
    panel: {
      title: 'Calls by target',
      expr: `sum by (server, target) (rate(mcp_poolkit_target_picks_total${RATE}))`,
      legend: '{{server}} {{target}}',
      unit: 'reqps',
      row: 'Servers',
    },
  },
  {
    name: 'mcp_poolkit_target_ejected',
    type: 'gauge',
    help: '1 while the target is left alone for what its calls showed, else 0.',
    labels: ['server', 'target'],
    panel: {
      title: 'Targets ejected',
      expr: 'sum by (server, target) (mcp_poolkit_target_ejected)',
      legend: '{{server}} {{target}}',
      unit: 'short',
      row: 'Servers',
    },
    alert: {
      name: 'McpTargetEjected',
      expr: 'avg_over_time(mcp_poolkit_target_ejected[10m]) > 0.5',
      for: '5m',
      severity: 'warning',
      summary:
        '{{ $labels.target }} of {{ $labels.server }} fails or is slow, and has been left alone most of the time.',
    },
  },
  {
    name: 'mcp_poolkit_target_retries_total',
    type: 'counter',
    help: 'Attempts on another target after one that failed, hedges, and what the budget refused of both.',
    labels: ['server', 'outcome'],
  },
  {
    name: 'mcp_poolkit_mirrored_calls_total',
    type: 'counter',
    help: 'Copies of calls to a mirror, by how its answers compare: same, different, failed, skipped.',
    labels: ['server', 'outcome'],
  },
  {
    name: 'mcp_poolkit_canary_calls_total',
    type: 'counter',
    help: 'Calls that a canary was asked: answered by it, or replaced by an answer of the targets.',
    labels: ['server', 'outcome'],
  },
  {
    name: 'mcp_poolkit_concurrency_limit',
    type: 'gauge',
    help: 'With maxConcurrent "auto", how many calls the server is found to take at a time.',
    labels: ['server'],
  },
] as const satisfies readonly MetricSpec[];
