import { runFakeServer } from './runFakeServer.js';

// Run by `fakeServerCommand`: its options as JSON are the only argument.
runFakeServer(JSON.parse(process.argv[2] ?? '{}'));
