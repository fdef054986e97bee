import t from 'tap';
import { PassTimer } from './pass-timer.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('whoever asks for a pass as one ends gets one of its own', async (t) => {
  // Between the last look for more work and the end there are a few turns of promises: each is tried.
  for (let turns = 0; turns < 12; turns += 1) {
    let passes = 0;
    let end = (): void => undefined;
    const first = new Promise<void>((resolve) => {
      end = resolve;
    });
    const timer = new PassTimer(
      {
        pass: async () => {
          passes += 1;
          if (passes === 1) await first;
        },
        nextAt: () => undefined,
        time: () => 0,
        log,
      },
      { passAfterMs: 1 },
    );
    const before = timer.now();
    const asked = first.then(async () => {
      for (let i = 0; i < turns; i += 1) await Promise.resolve();
      const begun = passes;
      await timer.now();
      return begun;
    });
    end();
    const begun = await asked;
    await before;
    t.ok(passes > begun, `after ${turns} turns`);
    await timer.close();
  }
});
