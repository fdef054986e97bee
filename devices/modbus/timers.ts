/** Time as a bus goes by it; a test has its own. */
export interface Timers {
  /** Monotonic, ms. */
  now(): number;
  /** Calls once, unless what it returned is called before. */
  after(ms: number, call: () => void): () => void;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
