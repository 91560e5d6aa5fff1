import { ReferenceServer } from './ReferenceServer.js';

/** A reference server on stdio as a process of its own: `node main.js SERVICE`. */
await new ReferenceServer(process.argv[2]).serveStdio(process.stdin, process.stdout);
