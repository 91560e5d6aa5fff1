import { type MetricSpec, RATE } from './MetricSpec.js';

/** What the gateway and its process do. */
export const GATEWAY_METRICS = [
  {
    name: 'mcp_poolkit_gateway_requests_total',
    type: 'counter',
    help: 'Requests of clients that ended, by outcome, as with calls.',
    labels: ['method', 'era', 'outcome'],
    panel: {
      title: 'Requests of clients',
      expr: `sum by (method, outcome) (rate(mcp_poolkit_gateway_requests_total${RATE}))`,
      legend: '{{method}} {{outcome}}',
      unit: 'reqps',
      row: 'Gateway',
    },
  },
  {
    name: 'mcp_poolkit_gateway_request_duration_seconds',
    type: 'histogram',
    help: 'From a client’s request to its answer.',
    labels: ['method'],
    panel: {
      title: 'Requests of clients, p99',
      expr: `histogram_quantile(0.99, sum by (le, method) (rate(mcp_poolkit_gateway_request_duration_seconds_bucket${RATE})))`,
      legend: '{{method}}',
      unit: 's',
      row: 'Gateway',
    },
  },
  {
    name: 'mcp_poolkit_gateway_requests_in_flight',
    type: 'gauge',
    help: 'Requests of clients that are being answered.',
    labels: [],
  },
  {
    name: 'mcp_poolkit_gateway_sessions',
    type: 'gauge',
    help: 'Sessions of clients.',
    labels: [],
    panel: {
      title: 'Sessions',
      expr: 'mcp_poolkit_gateway_sessions',
      legend: 'sessions',
      unit: 'short',
      row: 'Gateway',
    },
  },
  { name: 'mcp_poolkit_gateway_streams', type: 'gauge', help: 'Streams of clients that are open.', labels: [] },
  {
    name: 'mcp_poolkit_gateway_refused_total',
    type: 'counter',
    help: 'HTTP requests refused for their Host or Origin.',
    labels: [],
  },
  {
    name: 'mcp_poolkit_gateway_dropped_notices_total',
    type: 'counter',
    help: 'Notifications that no client read, or that a client was too slow for.',
    labels: [],
  },
  {
    name: 'mcp_poolkit_gateway_cut_responses_total',
    type: 'counter',
    help: 'Responses broken off before their end: failed (their call, after a part had left), stalled (not read), no_room (too much waits).',
    labels: ['reason'],
  },
  {
    name: 'mcp_poolkit_gateway_held_bytes',
    type: 'gauge',
    help: 'Bytes held for clients: bodies, answers and notifications not taken.',
    labels: [],
  },
  {
    name: 'mcp_poolkit_event_loop_delay_seconds',
    type: 'gauge',
    help: 'How late the event loop was since the last look: p50, p99, max.',
    labels: ['stat'],
    panel: {
      title: 'Event loop delay',
      expr: 'mcp_poolkit_event_loop_delay_seconds',
      legend: '{{stat}}',
      unit: 's',
      row: 'Gateway',
    },
    alert: {
      name: 'McpGatewayBusy',
      expr: 'max by (instance) (mcp_poolkit_event_loop_delay_seconds{stat="p99"}) > 0.2',
      for: '5m',
      severity: 'warning',
      summary: 'The event loop of {{ $labels.instance }} is 200 ms late: the gateway itself is the bottleneck.',
    },
  },
  {
    name: 'mcp_poolkit_info',
    type: 'gauge',
    help: '1, with the version of the toolkit.',
    labels: ['version'],
  },
] as const satisfies readonly MetricSpec[];
