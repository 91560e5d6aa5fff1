import type { Clock } from './clock.js';
import { keptError } from './errors/keptError.js';
import { type LogFn, type Logger, silentLogger } from './logger.js';

/** Lines of one kind (level, message, and server where it is of one) that pass in a window; the rest are counted and dropped. */
const LINES_PER_KIND = 20;
const WINDOW_MS = 10_000;
/** Kinds remembered. Messages are constants of ours, and servers those of the config. */
const MAX_KINDS = 4_096;

interface Kind {
  fromMs: number;
  lines: number;
  dropped: number;
}

/**
 * A logger for what a peer can cause at will: at most 20 lines of one kind pass in 10 seconds, and the next line that
 * passes says in `dropped` how many did not. Of each text in a line 2,048 characters pass. A logger that throws disturbs no caller.
 */
export function limitedLogger(logger: Logger, now: () => number): Logger {
  if (logger === silentLogger) return logger;
  const kinds = new Map<string, Kind>();
  const limited = (level: keyof Logger): LogFn => {
    return (fields: object | string, message?: string): void => {
      const kind = typeof fields === 'string' ? fields : `${message} ${(fields as { server?: unknown }).server ?? ''}`;
      const dropped = admit(kinds, `${level} ${kind}`, now());
      if (dropped === undefined) return;
      try {
        if (typeof fields === 'string') logger[level](dropped === 0 ? {} : { dropped }, fields);
        else logger[level](dropped === 0 ? short(fields) : { ...short(fields), dropped }, message);
      } catch {
        // There is nowhere to report a logger that fails.
      }
    };
  };
  return {
    trace: limited('trace'),
    debug: limited('debug'),
    info: limited('info'),
    warn: limited('warn'),
    error: limited('error'),
  };
}

/** Of texts and errors that a peer wrote the beginning is told: each may be as large as a message. */
const short = (fields: object): object =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, keptError(value)]));

/** How many lines of this kind were dropped since the last that passed; undefined when this one is dropped too. */
function admit(kinds: Map<string, Kind>, name: string, nowMs: number): number | undefined {
  let kind = kinds.get(name);
  if (kind === undefined) {
    if (kinds.size >= MAX_KINDS) kinds.clear();
    kind = { fromMs: nowMs, lines: 0, dropped: 0 };
    kinds.set(name, kind);
  }
  if (nowMs - kind.fromMs >= WINDOW_MS) {
    kind.fromMs = nowMs;
    kind.lines = 0;
  }
  if (kind.lines >= LINES_PER_KIND) {
    kind.dropped++;
    return undefined;
  }
  kind.lines++;
  const { dropped } = kind;
  kind.dropped = 0;
  return dropped;
}

/** Where a pool tells of its listeners that threw: a peer can make them throw at will. */
export function listenerErrors({ logger, clock }: { readonly logger: Logger; readonly clock: Clock }) {
  const limited = limitedLogger(logger, () => clock.now());
  return (error: unknown, event: string): void => limited.error({ error, event }, 'a listener of a pool threw');
}
