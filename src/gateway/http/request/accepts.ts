/** What nearly all clients send. */
const USUAL = 'application/json, text/event-stream';

/** Ranges of one header, and parameters of one range, that are heeded: each costs a third of a microsecond, and 15,000 have room in a head. */
const MAX_RANGES = 64;
const MAX_PARAMETERS = 8;

/**
 * Whether an `Accept` header takes that media type. Ranges and capitals are heeded, a weight of 0 refuses, the most specific
 * range decides, and no header takes everything (RFC 9110, 12.5.1).
 */
export function accepts(accept: string | undefined, type: string): boolean {
  if (accept === undefined) return true;
  if (accept === USUAL && USUAL.includes(type)) return true;
  const weights = new Map(accept.toLowerCase().split(',', MAX_RANGES).map(rangeOf));
  const weight = weights.get(type) ?? weights.get(`${type.slice(0, type.indexOf('/'))}/*`) ?? weights.get('*/*') ?? 0;
  return weight > 0;
}

/** A range and its weight; one that is no number is taken for none given. */
function rangeOf(item: string): readonly [string, number] {
  const [range = '', ...parameters] = item.split(';', 1 + MAX_PARAMETERS).map((part) => part.trim());
  const given = parameters.find((each) => each.startsWith('q='));
  const weight = given === undefined ? 1 : Number(given.slice(2));
  return [range, Number.isNaN(weight) ? 1 : weight];
}
