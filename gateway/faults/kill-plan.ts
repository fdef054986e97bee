/** At which calls the gateway is killed: at all of them, or, where time is short, at some that a seed picks. */
import type { KillPoint } from './killed-site.js';

export interface KillPlan {
  readonly points: readonly KillPoint[];
  /** In words, with what repeats it. */
  readonly description: string;
}

/** The start of the program makes some of the first calls, the load the others. */
const all: readonly KillPoint[] = [
  ...pointsOf('pwrite64', { from: 1, to: 120, step: 1 }),
  ...pointsOf('pwrite64', { from: 121, to: 360, step: 3 }),
  ...pointsOf('fsync', { from: 1, to: 40, step: 1 }),
];
const sliceSize = 12;

/** Reads HOLDFAST_FAULTS_SLICE and HOLDFAST_FAULTS_SEED. */
export const killPlan = (env: Readonly<Record<string, string | undefined>>): KillPlan => {
  const isSlice = env.HOLDFAST_FAULTS_SLICE === '1';
  const seed = Number(env.HOLDFAST_FAULTS_SEED ?? Date.now() % 2 ** 31);
  // In a mixed order, so that no kill stands always behind the same one.
  const mixed = shuffled(all, seed);
  const points = isSlice ? mixed.slice(0, sliceSize) : mixed;
  return { points, description: `${points.length} of ${all.length} points, seed ${seed}` };
};

const shuffled = <T>(items: readonly T[], seed: number): T[] => {
  const random = randomFrom(seed);
  const keyed = items.map((item) => ({ item, key: random() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
};

/** mulberry32: small, and the same everywhere. */
const randomFrom = (seed: number) => {
  let state = seed;
  return (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
};

function pointsOf(
  call: string,
  { from, to, step }: { readonly from: number; readonly to: number; readonly step: number },
): KillPoint[] {
  const count = Math.floor((to - from) / step) + 1;
  return Array.from({ length: count }, (_, index) => ({ call, nth: from + index * step }));
}
