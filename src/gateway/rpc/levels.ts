/** Levels of log messages, most verbose first. */
export const LEVELS: readonly string[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];

/** A level's place among them; -1 for what is none. */
export const levelOf = (level: unknown): number => (typeof level === 'string' ? LEVELS.indexOf(level) : -1);
