/** When a button was held on purpose, out of the edges of its line: a pure function of what was seen and when. Monotonic ms. */

/** Since when it is held; null while it is not. */
export type ButtonState = { readonly heldSince: number } | null;

/** How long it is held when it is meant. For longer it is stuck, or something leans on it. */
export interface Hold {
  readonly leastMs: number;
  readonly mostMs: number;
}

/** What stops something. */
export const longHold: Hold = { leastMs: 5_000, mostMs: 30_000 };
export const press: Hold = { leastMs: 50, mostMs: 5_000 };

/** `isHeld`: it was let go after being held long enough to be meant. */
export const nextButton = (
  state: ButtonState,
  isDown: boolean,
  at: number,
  { leastMs, mostMs }: Hold = longHold,
): { readonly state: ButtonState; readonly isHeld: boolean } => {
  if (isDown) return { state: state ?? { heldSince: at }, isHeld: false };
  const heldMs = state === null ? 0 : at - state.heldSince;
  return { state: null, isHeld: heldMs >= leastMs && heldMs <= mostMs };
};
