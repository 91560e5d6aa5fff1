import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { bestFixed, SERVERS, type SimulatedServer, simulate } from './simulation.js';

/**
 * Draws what `AdaptiveLimit` finds on three simulated servers: `npx tsc -p tsconfig.bench.json && node
 * .build/bench/adaptive/chart.js [file]`. The same seed gives the same picture.
 */
const SEED = 1;
const WIDTH = 720;
const HEIGHT = 200;
const LEFT = 44;
const TOP = 30;

function panel(server: SimulatedServer, index: number): string {
  const best = bestFixed(server, SEED);
  const { points, stretches } = simulate(server, {}, SEED);
  const most = Math.max(...points.map(({ limit }) => limit), ...best.map((each) => 1.25 * each));
  const x = (ms: number): string => (LEFT + ((WIDTH - LEFT - 10) * ms) / server.durationMs).toFixed(1);
  const y = (limit: number): string => (TOP + (HEIGHT - TOP - 24) * (1 - limit / most)).toFixed(1);
  const bands = server.stretches.map(({ fromMs, toMs }, at) => {
    const limit = best[at] ?? 0;
    const found = (stretches[at]?.meanLimit ?? 0).toFixed(1);
    console.log(
      `${server.name}, ${fromMs / 1_000} to ${toMs / 1_000} s: best fixed ${limit}, found ${found} on average`,
    );
    const height = (Number(y(0.8 * limit)) - Number(y(1.2 * limit))).toFixed(1);
    const width = (Number(x(toMs)) - Number(x(fromMs))).toFixed(1);
    return (
      `<rect x="${x(fromMs)}" y="${y(1.2 * limit)}" width="${width}" height="${height}" fill="#dcebdc"/>` +
      `<path d="M${x(fromMs)} ${y(limit)}H${x(toMs)}" stroke="#2e7d32" stroke-dasharray="5 3"/>` +
      `<text x="${x(fromMs)}" y="${Number(y(1.2 * limit)) - 4}" fill="#2e7d32">best ${limit}, found ${found}</text>`
    );
  });
  const line = points.map(
    ({ atMs, limit }, at) => `${at === 0 ? 'M' : 'H'}${x(atMs)}${at === 0 ? ` ${y(limit)}` : `V${y(limit)}`}`,
  );
  const marks = [0, 20, 40, 60].map((s) => `<text x="${x(s * 1_000)}" y="${HEIGHT - 6}">${s} s</text>`);
  return (
    `<g transform="translate(0 ${index * HEIGHT})"><text x="${LEFT}" y="16" font-weight="bold">${server.name}</text>` +
    `<path d="M${LEFT} ${TOP}V${y(0)}H${WIDTH - 10}" stroke="#888"/>${bands.join('')}` +
    `<path d="${line.join('')}" stroke="#1565c0"/>` +
    `<text x="4" y="${y(most / 1.25)}">${Math.round(most / 1.25)}</text><text x="4" y="${y(0)}">0</text>${marks.join('')}</g>`
  );
}

const height = SERVERS.length * HEIGHT;
const svg =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11" fill="none">` +
  `<title>The limit that AdaptiveLimit finds over time on three simulated servers</title><style>text{fill:#333}</style><rect width="${WIDTH}" height="${height}" fill="#fff"/>${SERVERS.map(panel).join('')}</svg>\n`;
writeFileSync(process.argv[2] ?? resolve('docs/adaptive-limit.svg'), svg);
