/** So many messages an array may have, from a client or a server. Only version 2025-03-26 has arrays; real ones are small. */
export const MAX_BATCH = 100;
