import { type Label, type MetricSpec, RATE } from './MetricSpec.js';

const CALL: readonly Label[] = ['server', 'method', 'tool', 'principal'];

/** What calls come to. */
export const CALL_METRICS = [
  {
    name: 'mcp_poolkit_calls_total',
    type: 'counter',
    help: 'Calls that ended, by outcome: ok, tool_error (a result with isError), an error code, or ABORTED.',
    labels: [...CALL, 'outcome'],
    panel: {
      title: 'Calls by outcome',
      expr: `sum by (server, outcome) (rate(mcp_poolkit_calls_total${RATE}))`,
      legend: '{{server}} {{outcome}}',
      unit: 'reqps',
      row: 'Calls',
    },
    alert: {
      name: 'McpServerFailing',
      expr: 'sum by (server) (rate(mcp_poolkit_calls_total{outcome!~"ok|tool_error|ERR_RPC|ABORTED"}[5m])) / sum by (server) (rate(mcp_poolkit_calls_total[5m])) > 0.05',
      for: '5m',
      severity: 'critical',
      summary: 'More than 5 % of the calls to {{ $labels.server }} fail.',
    },
  },
  {
    name: 'mcp_poolkit_call_duration_seconds',
    type: 'histogram',
    help: 'From the newest send of a call to its end, without the wait before.',
    labels: CALL,
    panel: {
      title: 'Call duration, p99',
      expr: `histogram_quantile(0.99, sum by (le, server) (rate(mcp_poolkit_call_duration_seconds_bucket${RATE})))`,
      legend: '{{server}} p99',
      unit: 's',
      row: 'Calls',
    },
    alert: {
      name: 'McpServerSlow',
      expr: 'histogram_quantile(0.99, sum by (le, server) (rate(mcp_poolkit_call_duration_seconds_bucket[5m]))) > 10',
      for: '10m',
      severity: 'warning',
      summary: 'One call of a hundred to {{ $labels.server }} takes longer than 10 s.',
    },
  },
  {
    name: 'mcp_poolkit_queue_duration_seconds',
    type: 'histogram',
    help: 'From the acceptance of a call to its first send: limiter, start and queue; of a call never sent, to its end.',
    labels: ['server'],
    panel: {
      title: 'Wait before the send, p99',
      expr: `histogram_quantile(0.99, sum by (le, server) (rate(mcp_poolkit_queue_duration_seconds_bucket${RATE})))`,
      legend: '{{server}}',
      unit: 's',
      row: 'Calls',
    },
    alert: {
      name: 'McpCallsQueueing',
      expr: 'histogram_quantile(0.99, sum by (le, server) (rate(mcp_poolkit_queue_duration_seconds_bucket[5m]))) > 1',
      for: '10m',
      severity: 'warning',
      summary: 'Calls to {{ $labels.server }} wait longer than 1 s before they are sent.',
    },
  },
  {
    name: 'mcp_poolkit_calls_in_flight',
    type: 'gauge',
    help: 'Calls that were sent and have not ended.',
    labels: ['server'],
    panel: {
      title: 'In flight',
      expr: 'sum by (server) (mcp_poolkit_calls_in_flight)',
      legend: '{{server}}',
      unit: 'short',
      row: 'Calls',
    },
  },
  {
    name: 'mcp_poolkit_calls_waiting',
    type: 'gauge',
    help: 'Calls that were accepted and are not sent yet.',
    labels: ['server'],
    panel: {
      title: 'Waiting',
      expr: 'sum by (server) (mcp_poolkit_calls_waiting)',
      legend: '{{server}}',
      unit: 'short',
      row: 'Calls',
    },
  },
  {
    name: 'mcp_poolkit_retries_total',
    type: 'counter',
    help: 'Attempts that failed and were followed by another one of the same call.',
    labels: ['server'],
    panel: {
      title: 'Retries',
      expr: `sum by (server) (rate(mcp_poolkit_retries_total${RATE}))`,
      legend: '{{server}}',
      unit: 'reqps',
      row: 'Calls',
    },
  },
  {
    name: 'mcp_poolkit_sent_bytes_total',
    type: 'counter',
    help: 'Bytes of the messages of calls, as sent to servers.',
    labels: ['server'],
  },
  {
    name: 'mcp_poolkit_received_bytes_total',
    type: 'counter',
    help: 'Bytes of the answers to calls, as they came from servers.',
    labels: ['server'],
    panel: {
      title: 'Bytes received',
      expr: `sum by (server) (rate(mcp_poolkit_received_bytes_total${RATE}))`,
      legend: '{{server}}',
      unit: 'Bps',
      row: 'Calls',
    },
  },
] as const satisfies readonly MetricSpec[];
