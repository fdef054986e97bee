/** Operations of a shadow that wait to be sent, less those that nobody has to hear of any more. Pure. */
import { compareTimes } from './hybrid-clock.js';
import { idOf, type ShadowOperation, type ShadowPath } from './shadow-merge.js';

/**
 * The operations in the order of their stamps, each once, without those that a later one of the same replica covers (at its path or above):
 * whoever wrote the later knew the earlier and all that it had overwritten, so a replica that merges the rest comes to the same, but for
 * conflicts that are settled by then. None of them may have been sent.
 */
export const compactOperations = (operations: readonly ShadowOperation[]): ShadowOperation[] => {
  const once = [...new Map(operations.map((operation) => [idOf(operation), operation])).values()];
  once.sort((a, b) => compareTimes(a.stamp, b.stamp));
  return once.filter(
    (earlier, at) =>
      !once.some(
        (later, laterAt) =>
          laterAt > at &&
          later.stamp.replica === earlier.stamp.replica &&
          compareTimes(earlier.stamp, later.stamp) < 0 &&
          isAtOrAbove(later.path, earlier.path),
      ),
  );
};

const isAtOrAbove = (above: ShadowPath, path: ShadowPath): boolean =>
  above.length <= path.length && above.every((key, at) => key === path[at]);
