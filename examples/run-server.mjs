// Runs the server of an installed package: node run-server.mjs <package> [arguments...]. The package is found as `import`
// finds it, so that the config beside this file works in this repository and from node_modules/mcp-poolkit/examples.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [name, ...args] = process.argv.slice(2);
const require = createRequire(import.meta.url);

function manifestOf(name) {
  try {
    return require.resolve(`${name}/package.json`);
  } catch {
    console.error(`Error: the package ${name} is not installed. Install it: npm install ${name}`);
    process.exit(1);
  }
}

const file = manifestOf(name);
const { bin } = require(file);
const program = join(file, '..', typeof bin === 'string' ? bin : Object.values(bin)[0]);
process.argv = [process.argv[0], program, ...args];
await import(pathToFileURL(program).href);
