/**
 * Timers that are no leak of ours: the test runner's own; the SDK's, whose client arms its reconnection once more after its
 * close; those of Node's own fetch, whose sockets outlive a test in a pool that cannot be closed; the one clock that undici's
 * connections share, which stops by itself within a second; those of sockets that ioredis's subscriber of a cluster has left, two seconds each.
 */
export const NOT_OURS =
  /StreamableHTTPClientTransport\._scheduleReconnection|node_modules\/(@vitest|vitest|birpc|tinypool)\/|node:internal\/deps\/undici|node_modules\/undici\/lib\/util\/timers|ClusterSubscriber\.selectSubscriber/;
