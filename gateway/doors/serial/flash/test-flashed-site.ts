/** A site with one board that its gateway flashes, which runs 1.0.0 and is to get 2.0.0: for tests. */
import type { Test } from 'tap';
import {
  folderOf,
  openSerialSite,
  type SerialSite,
  type TestFirmware,
  type TestSiteOptions,
} from '../test-serial-site.js';
import { type TestApplication, TestBoard, testImage } from './test-board.js';

export const pump = 'pump-1';
export const job = 'c-2_0_0';
const part = 'atmega328p';

export const oldImage = testImage('one');
export const newImage = testImage('two');
export const old: TestFirmware = { version: '1.0.0', image: oldImage, part, isKnownOnly: true };
export const young: TestFirmware = { version: '2.0.0', image: newImage, part };

export interface FlashedSiteOptions extends TestSiteOptions {
  readonly board?: TestBoard;
  /** What the new version's hello says; null: it is mute. */
  readonly says?: string | null;
}

export const makeBoard = (
  says: string | null = '2.0.0',
  others: readonly TestApplication[] = [],
): TestBoard =>
  new TestBoard(
    pump,
    [{ image: oldImage, says: '1.0.0' }, { image: newImage, says }, ...others],
    oldImage,
  );

export const lines = [
  {
    ...{ device: pump, path: '/dev/ttyTest' },
    flash: { protocol: 'stk500v1', part, reset: 'dtr' },
  },
] as const;

export const startSite = (
  t: Test,
  folder: string,
  board: TestBoard,
  { flashing, ...options }: TestSiteOptions = {},
): Promise<SerialSite> =>
  openSerialSite(t, folder, lines, {
    firmware: [old, young],
    ports: { openPort: board.pair.openPort, findPort: async () => ({ path: '/dev/ttyTest' }) },
    flashing: { askEveryMs: 20, proofTimeoutMs: 200, ...flashing, loader: board.loader },
    ...options,
  });

export const flashedSite = async (
  t: Test,
  { board: given, says, ...options }: FlashedSiteOptions = {},
) => {
  const folder = await folderOf(t);
  const board = given ?? makeBoard(says);
  const site = await startSite(t, folder, board, options);
  return { folder, board, site };
};

export const executionOf = async (site: SerialSite, campaign = job) =>
  (await site.updates.executions(campaign)).find(([device]) => device === pump)?.[1];

export const becomes = (site: SerialSite, status: string, campaign = job) =>
  site.until(async () => {
    const found = await executionOf(site, campaign);
    return found?.status === status ? found : undefined;
  });
