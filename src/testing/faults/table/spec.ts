import type { FaultSettings } from '../settings.js';

/** What a fault can be on: the transports of MCP, all of which a wrapped connection (`faulty`) has; a TCP connection, whatever it carries; files. */
export type FaultWire = 'stdio' | 'http' | 'sse' | 'tcp' | 'disk';

/** One fault: what it is, where it can be, what it does and what it may be told. */
export interface FaultSpec {
  /** `call`: befalls a request; `start`: befalls the start of a process or a connection. */
  readonly scope: 'call' | 'start';
  readonly wires: readonly FaultWire[];
  /** Methods it befalls where its rule names neither method, tool nor URI. @defaultValue the calls that act */
  readonly methods?: readonly string[];
  readonly settings: readonly (keyof FaultSettings)[];
  /** What the wire shows. */
  readonly shows: string;
  /** What the toolkit does with it. */
  readonly answer: string;
}

export const EVERY_WIRE: readonly FaultWire[] = Object.freeze(['stdio', 'http', 'sse']);

/** What a TCP proxy asks a plan about: what a client sends until the server answers, and that answer. */
export const TCP_EXCHANGE = 'tcp/exchange';

/** Whether a fault can be there; without a wire it is a wrapped connection. */
export const canBeOn = ({ wires }: FaultSpec, wire: FaultWire | undefined): boolean =>
  wire === undefined ? wires.some((each) => each !== 'tcp' && each !== 'disk') : wires.includes(wire);

/** The lists of a server, by method. */
export const LISTS: readonly string[] = Object.freeze([
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
]);

/** Stands for every method that the protocol does not know. */
export const UNKNOWN_METHODS = '(unknown)';
