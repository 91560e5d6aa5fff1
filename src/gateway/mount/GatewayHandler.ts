import type { IncomingMessage, ServerResponse } from 'node:http';

/** A request listener of node:http, and a middleware of Express and Connect. Never throws. */
export type GatewayHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  next?: (error?: unknown) => unknown,
) => void;
