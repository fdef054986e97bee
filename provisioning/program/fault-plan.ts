/**
 * How much of a tests' faults is run: all of it, or, with HOLDFAST_FAULTS_SLICE=1, what a seed picks; for `*.faults.test.ts` alone. The
 * seed is HOLDFAST_FAULTS_SEED or drawn, and stands in the description, so that a run can be repeated.
 */
export interface FaultPlan {
  readonly isSlice: boolean;
  readonly seed: number;
  /** From 0 to 1, by the seed. */
  readonly random: () => number;
  /** For the test's output. */
  readonly description: string;
  /** All of them, or `count`, in an order of the seed's. */
  pick<T>(all: readonly T[], count: number): readonly T[];
  /** Numbers from 1 on, without end; or `count` of those up to `upTo`, ascending. */
  ordinals(slice: { readonly upTo: number; readonly count: number }): Iterable<number>;
}

export const faultPlan = (
  env: Readonly<Record<string, string | undefined>> = process.env,
): FaultPlan => {
  const isSlice = env.HOLDFAST_FAULTS_SLICE === '1';
  const seed = Number(env.HOLDFAST_FAULTS_SEED ?? Date.now() % 2 ** 31);
  const random = randomFrom(seed);
  const shuffled = <T>(items: readonly T[]): T[] =>
    items
      .map((item) => ({ item, key: random() }))
      .sort((a, b) => a.key - b.key)
      .map(({ item }) => item);
  const some = <T>(all: readonly T[], count: number): T[] => shuffled(all).slice(0, count);
  return {
    isSlice,
    seed,
    random,
    description: `${isSlice ? 'a slice' : 'all'}, seed ${seed}`,
    pick: (all, count) => (isSlice ? some(all, count) : shuffled(all)),
    ordinals({ upTo, count }) {
      if (!isSlice) return counting();
      const all = Array.from({ length: upTo }, (_, index) => index + 1);
      return some(all, count).sort((a, b) => a - b);
    },
  };
};

function* counting(): Generator<number> {
  for (let at = 1; ; at += 1) yield at;
}

/** mulberry32: small, and the same everywhere. */
const randomFrom = (seed: number) => {
  let state = seed;
  return (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};
