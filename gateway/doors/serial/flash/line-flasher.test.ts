import t from 'tap';
import { LineFlasher, type LineFlasherDeps } from './line-flasher.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('looks again whenever it is told, even as a look ends', async (t) => {
  for (let microtasks = 0; microtasks < 12; microtasks += 1) {
    let looks = 0;
    const executions = {
      executionsOf: () => {
        looks += 1;
        return [];
      },
      executionOf: async () => undefined,
    };
    // An idle line touches neither.
    const unused = { site: {}, tasks: {} } as unknown as Pick<LineFlasherDeps, 'site' | 'tasks'>;
    const flasher = new LineFlasher({ ...unused, executions, now: () => 0, log }, 'pump-1');
    flasher.open();
    for (let passed = 0; passed < microtasks; passed += 1) await undefined;
    const before = looks;
    flasher.told();
    await new Promise((resolve) => setImmediate(resolve));
    t.ok(looks > before, `${microtasks} microtasks after the last`);
    await flasher.close();
  }
});
