/** Work that is done anew after every wake, never twice at once: wakes during a run make for one more run. */
export interface Coalesced {
  wake(): void;
  /** Resolves when no run is under way. A later wake does nothing. */
  close(): Promise<void>;
}

/** `work` must not throw for what it can handle; `onError` hears of the rest. */
export const coalesced = (
  work: () => Promise<void>,
  onError: (error: unknown) => void,
): Coalesced => {
  let running: Promise<void> | undefined;
  let isWanted = false;
  let isClosed = false;
  const run = async (): Promise<void> => {
    while (isWanted && !isClosed) {
      isWanted = false;
      try {
        await work();
      } catch (error) {
        onError(error);
      }
    }
    running = undefined;
  };
  return {
    wake: () => {
      if (isClosed) return;
      isWanted = true;
      running ??= run();
    },
    close: async () => {
      isClosed = true;
      await running;
    },
  };
};
