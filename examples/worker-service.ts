// A service with a database and background workers that stops without dropping a request.
// Node 22.18 or newer runs it as it is: PORT=8080 node examples/worker-service.ts; then: kill -TERM <pid>
import { type FileHandle, open } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addHttpServer, BackgroundWorker, Health, InFlight, ShutdownPlan } from 'mcp-poolkit/shutdown';

/** Stands for a database: a file that rows are appended to. */
class Database {
  readonly #file: FileHandle;
  constructor(file: FileHandle) {
    this.#file = file;
  }
  static async open(path: string): Promise<Database> {
    return new Database(await open(path, 'a'));
  }
  insert = (row: object): Promise<void> => this.#file.appendFile(`${JSON.stringify(row)}\n`);
  flush = (): Promise<void> => this.#file.datasync();
  ping = async (): Promise<boolean> => (await this.#file.stat()).isFile();
  async close(): Promise<void> {
    await this.flush();
    await this.#file.close();
  }
}

const propagationDelayMs = Number(process.env['PROPAGATION_MS'] ?? 0);
const plan = new ShutdownPlan({ totalMs: 30_000, propagationDelayMs });
plan.listen({ exit: true, onReport: (report) => console.log(String(report)) });
plan.beforeStop(() => console.log('stopping: finishing what has begun'));

await plan.start(async () => {
  const database = await Database.open(process.env['DATABASE'] ?? join(tmpdir(), 'orders.jsonl'));
  plan.add('database', database, { phase: 'release' });

  const flusher = new BackgroundWorker({ name: 'flusher', run: database.flush, intervalMs: 1_000 });
  const metrics = new BackgroundWorker({ name: 'metrics', run: () => process.memoryUsage(), intervalMs: 5_000 });
  for (const worker of [flusher, metrics]) {
    plan.add(worker.name, worker, { phase: 'background' });
    worker.start();
  }

  const requests = new InFlight();
  const health = new Health({ plan, checks: { database: { check: database.ping, critical: true } } });
  const placeOrder = requests.listener(async (request: IncomingMessage, response: ServerResponse) => {
    const { searchParams } = new URL(request.url ?? '/', 'http://localhost');
    await sleep(Number(searchParams.get('ms') ?? 0)); // stands for the work
    await database.insert({ order: searchParams.get('id') });
    response.end(`order ${searchParams.get('id')} is placed\n`);
  });
  const server = createServer((request, response) => {
    if (!health.nodeHandler(request, response)) placeOrder(request, response);
  });
  addHttpServer(plan, server, { inFlight: requests });
  server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port} as process ${process.pid}`);
  });
});
