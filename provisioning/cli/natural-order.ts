/** The order in which people look for names: `sim-2` before `sim-10`. */
const collator = new Intl.Collator('en', { numeric: true });

export const inNaturalOrder = <T>(items: readonly T[], nameOf: (item: T) => string): T[] =>
  [...items].sort((a, b) => collator.compare(nameOf(a), nameOf(b)));
