import { type LookupAddress, type LookupOptions, promises, lookup as systemLookup } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { isIP, type LookupFunction } from 'node:net';
import { systemClock } from '../clock.js';

/** One that takes longer goes round the system's way as well. */
const ASIDE_MS = 250;
/** Look-ups that Node makes at a time, in the whole process, with its four threads: of others none begins before one of these has ended. */
const AT_A_TIME = 2;
const RESOLVER = Object.freeze({ timeout: 1_500, tries: 2 });
const LOOPBACK: readonly LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

type Done = (error: NodeJS.ErrnoException | null, found: readonly LookupAddress[]) => void;

export interface LookUpParts {
  readonly system: (hostname: string, options: LookupOptions & { readonly all: true }, done: Done) => void;
  /** Rejects where it knows none. */
  readonly aside: (hostname: string) => Promise<readonly LookupAddress[]>;
}

/**
 * Names to addresses as `dns.lookup`, whose calls wait for each other: one to a name server that is silent takes 10 s, and two of them hold up all
 * others of the process. Each name is looked up once at a time here, and one that takes long is sought beside that where no one waits for others:
 * in the file of hosts, and by a resolver of its own. The first that finds it says where it is; that there is none, the system alone says.
 */
export function lookUpBy(parts: LookUpParts): LookupFunction {
  const underWay = new Map<string, Lookup>();
  const late = { count: 0 };
  return (hostname, options, callback) => {
    const key = `${hostname} ${options.family ?? 0} ${options.hints ?? 0} ${options.order ?? ''}`;
    const done: Done = (error, found) => {
      if (error !== null) callback(error, []);
      else if (options.all === true) callback(null, [...found]);
      else callback(null, found[0]?.address ?? '', found[0]?.family);
    };
    const known = underWay.get(key);
    const lookup = known ?? new Lookup(hostname, options.family, parts, late);
    lookup.wait(done);
    if (known !== undefined) return;
    underWay.set(key, lookup);
    lookup.begin(options, () => underWay.delete(key));
  };
}

/** One name, until the system has said where it is, or that it does not know. */
class Lookup {
  readonly #hostname: string;
  readonly #family: LookupOptions['family'];
  readonly #parts: LookUpParts;
  readonly #late: { count: number };
  #waiting: Done[] = [];
  #isLate = false;
  #isAside = false;

  /** `late`: how many of all are. */
  constructor(hostname: string, family: LookupOptions['family'], parts: LookUpParts, late: { count: number }) {
    this.#hostname = hostname;
    this.#family = family;
    this.#parts = parts;
    this.#late = late;
  }

  begin(options: LookupOptions, onEnd: () => void): void {
    const timer = systemClock.setTimer(
      () => {
        this.#isLate = true;
        this.#late.count++;
        this.#goAside();
      },
      this.#late.count >= AT_A_TIME ? 0 : ASIDE_MS,
    );
    const end: Done = (error, found) => {
      timer.cancel();
      if (this.#isLate) this.#late.count--;
      onEnd();
      this.#settle(error, found);
    };
    try {
      this.#parts.system(this.#hostname, { ...options, all: true }, end);
    } catch (error) {
      // Options that it does not take: no one is to wait for it.
      end(error as Error, []);
    }
  }

  wait(done: Done): void {
    this.#waiting.push(done);
    if (this.#isLate) this.#goAside();
  }

  #goAside(): void {
    if (this.#isAside) return;
    this.#isAside = true;
    this.#parts.aside(this.#hostname).then(
      (found) => {
        this.#isAside = false;
        const fit = found.filter(({ family }) => (this.#family !== 4 && this.#family !== 6) || family === this.#family);
        if (fit.length > 0) this.#settle(null, fit);
      },
      () => {
        this.#isAside = false;
      },
    );
  }

  #settle(...outcome: Parameters<Done>): void {
    for (const done of this.#waiting.splice(0)) done(...outcome);
  }
}

/** The same for the whole process. */
export const lookUp: LookupFunction = lookUpBy({
  system: (hostname, options, done) => systemLookup(hostname, options, done),
  aside: found,
});

async function found(hostname: string): Promise<readonly LookupAddress[]> {
  const name = hostname.toLowerCase().replace(/\.$/, '');
  const own = await inHosts(name).catch(() => []);
  if (own.length > 0) return own;
  // RFC 6761, 6.3.
  if (name === 'localhost' || name.endsWith('.localhost')) return LOOPBACK;
  const resolver = new promises.Resolver(RESOLVER);
  const [four, six] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const of = (result: PromiseSettledResult<string[]>, family: 4 | 6): LookupAddress[] =>
    result.status === 'fulfilled' ? result.value.map((address) => ({ address, family })) : [];
  return [...of(four, 4), ...of(six, 6)];
}

async function inHosts(name: string): Promise<LookupAddress[]> {
  const lines = (await readFile('/etc/hosts', 'utf8')).split('\n');
  return lines.flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const family = isIP(address);
    return family !== 0 && names.some((each) => each.toLowerCase() === name) ? [{ address, family }] : [];
  });
}
