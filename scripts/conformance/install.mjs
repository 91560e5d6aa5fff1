// Gets the conformance suites and the Node that they need, where they are not there.
import { execSync } from 'node:child_process';
import { findSuites, INSTALL } from './suites.mjs';

if (findSuites() === undefined) execSync(INSTALL, { stdio: 'inherit' });
process.exitCode = findSuites() === undefined ? 2 : 0;
