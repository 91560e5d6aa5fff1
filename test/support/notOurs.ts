/**
 * Timers that are nobody's leak: the test runner's own; those of Node's own fetch, whose sockets outlive a test in a
 * pool that nobody can close; the one clock that undici's connections share, which stops by itself within a second.
 */
export const NOT_OURS =
  /node_modules\/(@vitest|vitest|birpc|tinypool)\/|node:internal\/deps\/undici|node_modules\/undici\/lib\/util\/timers/;
