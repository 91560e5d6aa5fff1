// What four editor windows cost: each with servers of its own, or each with a shim onto one gateway. Prints one JSON object.
// Run after a build: node scripts/desk.mjs
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const WINDOWS = 4;
const CALLS = 400;
const root = resolve(import.meta.dirname, '..');
const main = join(root, 'dist/cli/main.js');
const bin = (name) => join(root, `node_modules/@modelcontextprotocol/server-${name}/dist/index.js`);
const folder = mkdtempSync(join(tmpdir(), 'poolkit-desk-'));
const servers = {
  everything: { command: process.execPath, args: [bin('everything')] },
  filesystem: { command: process.execPath, args: [bin('filesystem'), folder] },
  memory: { command: process.execPath, args: [bin('memory')] },
};
const file = join(folder, 'mcp.json');
writeFileSync(file, JSON.stringify({ mcpServers: servers }));

class Client {
  constructor(command, args) {
    this.child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, XDG_STATE_HOME: folder },
    });
    this.exited = once(this.child, 'close');
    this.waiting = new Map();
    this.next = 1;
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      const message = JSON.parse(line);
      this.waiting.get(message.id)?.(message);
    });
  }
  ask(method, params = {}) {
    const id = this.next++;
    const answer = new Promise((settle) => this.waiting.set(id, settle));
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return answer;
  }
  async initialize() {
    const from = performance.now();
    const clientInfo = { name: 'desk', version: '1' };
    const answer = await this.ask('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
    if (answer.error !== undefined) throw new Error(answer.error.message);
    this.child.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    return performance.now() - from;
  }
  async end() {
    this.child.stdin.end();
    await this.exited;
  }
}

/** Memory that is this process's own share of what it maps, in MB. */
const pssOf = (pid) => {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
};
const commandOf = (pid) => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
};
const pidsOf = (fits) => readdirSync('/proc').filter((name) => /^\d+$/.test(name) && fits(commandOf(name)));
const sum = (values) => values.reduce((a, b) => a + b, 0);
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const quantile = (values, q) => [...values].sort((a, b) => a - b)[Math.floor(values.length * q)];

const probe = createServer().listen(0, '127.0.0.1');
await once(probe, 'listening');
const { port } = probe.address();
probe.close();

// Windows with servers of their own.
const own = await Promise.all(
  Array.from({ length: WINDOWS }, () => Object.values(servers).map(({ command, args }) => new Client(command, args))),
).then((each) => each.flat());
const ownStarts = await Promise.all(own.map((client) => client.initialize()));
const ownPids = own.map(({ child }) => child.pid);
const ownMb = sum(ownPids.map(pssOf));
const direct = own[0];

// The same windows over one gateway.
const args = ['connect', `http://127.0.0.1:${port}/mcp`, '--start', '--config', file, '--linger-ms', '300'];
const shim = () => new Client(process.execPath, [main, ...args]);
const first = shim();
const firstMs = await first.initialize();
const shims = [first];
const starts = [];
for (let i = 1; i < WINDOWS; i++) {
  const client = shim();
  starts.push(await client.initialize());
  shims.push(client);
}
const params = { arguments: { message: 'hello' } };
const lists = await first.ask('tools/list');
const timed = async (client, name) => {
  const from = performance.now();
  const { result } = await client.ask('tools/call', { ...params, name });
  if (!result.content[0].text.includes('hello')) throw new Error('no echo');
  return performance.now() - from;
};
// In turns, so that the machine's mood is the same for both.
const straight = [];
const through = [];
for (let i = 0; i < CALLS; i++) {
  straight.push(await timed(direct, 'echo'));
  through.push(await timed(first, 'everything__echo'));
}
const gateway = pidsOf((command) => command.includes('main.js serve') && command.includes(`--port ${port}`));
const children = pidsOf((command) => Object.values(servers).some((each) => command.includes(each.args[0]))).filter(
  (pid) => !ownPids.includes(Number(pid)),
);
const shimMb = shims.map(({ child }) => pssOf(child.pid));
const rssMb = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${first.child.pid}/status`, 'latin1'))[1]) / 1024;
const bareMs = await (async () => {
  const times = [];
  for (let i = 0; i < 3; i++) {
    const from = performance.now();
    const child = spawn(process.execPath, ['-e', '0']);
    await once(child, 'close');
    times.push(performance.now() - from);
  }
  return median(times);
})();
const round = (value, digits = 0) => Number(value.toFixed(digits));
console.log(
  JSON.stringify(
    {
      windows: WINDOWS,
      tools: lists.result.tools.length,
      own: { processes: own.length, pssMb: round(ownMb), startMs: round(median(ownStarts)) },
      shared: {
        processes: shims.length + gateway.length + children.length,
        servers: children.length,
        pssMb: round(sum(shimMb) + sum([...gateway, ...children].map(pssOf))),
        gatewayMb: round(sum(gateway.map(pssOf))),
        firstStartMs: round(firstMs),
        startMs: round(median(starts)),
      },
      shim: { pssMb: round(median(shimMb)), rssMb: round(rssMb), bareNodeMs: round(bareMs) },
      callMs: {
        straight: [round(median(straight), 2), round(quantile(straight, 0.99), 2)],
        through: [round(median(through), 2), round(quantile(through, 0.99), 2)],
      },
    },
    null,
    2,
  ),
);
await Promise.all([...own, ...shims].map((client) => client.end()));
rmSync(folder, { recursive: true, force: true });
