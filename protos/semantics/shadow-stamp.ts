import { compareTimes, type HybridTime } from './hybrid-clock.js';

/** When an operation of a shadow was written, where and by whom. */
export interface ShadowStamp extends HybridTime {
  /** The log whose replica minted it (first 8 hexadecimal digits suffice): a rebuilt replica is another one. */
  readonly replica: string;
  /** `device:<id>`, `cloud` or `site:<person>`. */
  readonly writer: string;
}

/** A total order: two replicas may mint one time. */
export const compareStamps = (a: ShadowStamp, b: ShadowStamp): number =>
  compareTimes(a, b) || compareTexts(a.writer, b.writer) || compareTexts(a.replica, b.replica);

const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
