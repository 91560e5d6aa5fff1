import { parseArgs } from 'node:util';
import { runFleet } from './runFleet.js';

/**
 * `npm run fleet -- [--rounds N] [--clients N]`: three replicas behind nginx with one Redis and one limit, both official clients in both eras
 * at constant load; in each round all replicas are restarted one after the other, then one is killed.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, clients: { type: 'string', default: '4' } },
});
const [rounds, clientsOfEach] = [Number(values.rounds), Number(values.clients)];
for (const [name, value] of Object.entries({ rounds, clients: clientsOfEach })) {
  if (Number.isInteger(value) && value >= 1) continue;
  console.error(`--${name}: expected a whole number from 1`);
  process.exit(1);
}

const limit = { maxRequests: 200, windowMs: 1_000 };
const times = { calmMs: 3_000, delayMs: 2_000, refusingMs: 500 };
const report = await runFleet({ ...times, rounds, clientsOfEach, limit, log: (line) => console.log(line) });
console.log(
  `${report.calls} calls, ${report.perSec.toFixed(0)}/s; ${report.permits} permits, the fullest window of ${limit.windowMs} ms had ${report.fullestWindow} of ${limit.maxRequests}`,
);
for (const name of ['failedInRestarts', 'failedByKill', 'failedOtherwise'] as const) {
  console.log(`${name}: ${report[name].length}`);
  for (const { client, error } of report[name].slice(0, 10)) console.log(`  ${client}: ${error}`);
}
if (report.sessionsLost.length > 0) console.log(`sessions lost: ${report.sessionsLost.join(', ')}`);
const bad =
  report.failedInRestarts.length + report.failedOtherwise.length + report.sessionsLost.length + report.badExits.length;
process.exit(bad > 0 || report.fullestWindow > limit.maxRequests ? 1 : 0);
