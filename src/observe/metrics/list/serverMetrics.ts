import { type MetricSpec, RATE } from './MetricSpec.js';

/** What servers do. */
export const SERVER_METRICS = [
  {
    name: 'mcp_poolkit_server_state',
    type: 'gauge',
    help: '1 for the state that the server is in, 0 for the others.',
    labels: ['server', 'state'],
    panel: {
      title: 'Servers by state',
      expr: 'sum by (state) (mcp_poolkit_server_state)',
      legend: '{{state}}',
      unit: 'short',
      row: 'Servers',
    },
    alert: {
      name: 'McpServerDown',
      expr: 'max by (server) (mcp_poolkit_server_state{state=~"failed|degraded"}) == 1',
      for: '2m',
      severity: 'critical',
      summary: '{{ $labels.server }} is down: its starts fail or its breaker is open.',
    },
  },
  {
    name: 'mcp_poolkit_breaker_state',
    type: 'gauge',
    help: '1 for the state of the server’s circuit breaker (the worst of several), 0 for the others.',
    labels: ['server', 'state'],
  },
  {
    name: 'mcp_poolkit_restarts_total',
    type: 'counter',
    help: 'Connections that took the place of one: its process exited or was killed, it was disconnected, or a restart was requested.',
    labels: ['server', 'reason'],
    panel: {
      title: 'Restarts by reason',
      expr: `sum by (server, reason) (increase(mcp_poolkit_restarts_total${RATE}))`,
      legend: '{{server}} {{reason}}',
      unit: 'short',
      row: 'Servers',
    },
    alert: {
      name: 'McpServerCrashing',
      expr: 'sum by (server) (increase(mcp_poolkit_restarts_total{reason!="requested"}[15m])) > 3',
      for: '0m',
      severity: 'warning',
      summary: '{{ $labels.server }} died more than three times within 15 minutes.',
    },
  },
  {
    name: 'mcp_poolkit_connections',
    type: 'gauge',
    help: 'Connections that are up.',
    labels: ['server'],
    panel: {
      title: 'Connections',
      expr: 'sum by (server) (mcp_poolkit_connections)',
      legend: '{{server}}',
      unit: 'short',
      row: 'Servers',
    },
  },
  {
    name: 'mcp_poolkit_late_replies_total',
    type: 'counter',
    help: 'Answers that came after their call had settled.',
    labels: ['server'],
  },
  {
    name: 'mcp_poolkit_garbage_lines_total',
    type: 'counter',
    help: 'What came from the server and was no message.',
    labels: ['server'],
  },
  {
    name: 'mcp_poolkit_unsent_bytes',
    type: 'gauge',
    help: 'Bytes that the server has not taken yet.',
    labels: ['server'],
  },
  {
    name: 'mcp_poolkit_process_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of the server’s process groups, when they were last looked at.',
    labels: ['server'],
    panel: {
      title: 'Memory of the processes',
      expr: 'sum by (server) (mcp_poolkit_process_memory_bytes)',
      legend: '{{server}}',
      unit: 'bytes',
      row: 'Servers',
    },
  },
  {
    name: 'mcp_poolkit_process_cpu_seconds_total',
    type: 'counter',
    help: 'Processor time of the server’s processes, those of the children they waited for included (Linux).',
    labels: ['server'],
    panel: {
      title: 'Processor of the processes',
      expr: `sum by (server) (rate(mcp_poolkit_process_cpu_seconds_total${RATE}))`,
      legend: '{{server}}',
      unit: 'percentunit',
      row: 'Servers',
    },
  },
  {
    name: 'mcp_poolkit_limiter_waiting',
    type: 'gauge',
    help: 'Calls that wait for a permit of the rate limiter.',
    labels: ['server'],
  },
] as const satisfies readonly MetricSpec[];
