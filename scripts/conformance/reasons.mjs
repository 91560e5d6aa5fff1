/** Why a cell cannot pass what passes straight: the first that fits stands in the table. */
export const REASONS = [
  {
    cell: /^client, HTTP, shared/,
    set: /./,
    why: 'The suite\'s server asks on its own stream, which does not say whose call asks: `sharing: "bound"` is for that.',
  },
  {
    cell: /^(stdio|SSE), shared/,
    set: /0\.1|2025/,
    why: 'A shared pipe does not say whose call asks, so nothing can be asked: `sharing: "bound"` is for that.',
  },
  {
    cell: /^SSE, shared/,
    set: /./,
    why: 'That transport is of the legacy era alone, and shared it does not say whose call asks.',
  },
  {
    cell: /legacy server|^SSE/,
    set: /2026/,
    why: 'The server speaks the legacy era: its requests name no keys, and tools that only the modern era has are not there.',
  },
  {
    cell: /modern server/,
    set: /./,
    why: 'The server speaks the modern era: tools that ask by requests of their own are not there.',
  },
];
