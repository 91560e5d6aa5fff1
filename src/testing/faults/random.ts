/** From 0 to 1, the same for the same numbers: a 32-bit xorshift of their mix. Draws do not depend on each other's order. */
export function randomOf(seed: number, stream: number, turn: number): number {
  const state = (Math.imul(seed + 1, 0x9e3779b9) ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0;
  return scrambled((state + Math.imul(turn + 1, 0x9e3779b9)) >>> 0);
}

function scrambled(state: number): number {
  let x = state;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
}
