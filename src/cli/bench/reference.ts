import { once } from 'node:events';
import { ReferenceServer, urlOf } from '../../bench/reference/ReferenceServer.js';
import { closeHttpServer } from '../../shutdown/closeHttpServer.js';

/** Serves the reference server until its input ends, or, with a port, until SIGINT or SIGTERM. @throws OptionError */
export async function runReference(service: string, port: number | undefined): Promise<void> {
  const reference = new ReferenceServer(service);
  if (port === undefined) return reference.serveStdio(process.stdin, process.stdout);
  const server = await reference.serveHttp(port);
  process.stderr.write(`reference server with service time ${service} on ${urlOf(server)}\n`);
  await Promise.race(['SIGINT', 'SIGTERM'].map((signal) => once(process, signal)));
  await closeHttpServer(server, { graceMs: 0 });
}
