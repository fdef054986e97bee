/** A site on a machine whose power is cut again and again, and what it has kept of what it had promised. */
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { wait } from '@holdfast/provisioning/time/wait';
import { openEnrolledSite } from '../faults/enrolled-site.js';
import { findLost } from '../faults/kept-promises.js';
import { SiteLoad } from '../faults/site-load.js';
import { bootGuest } from './guest.js';
import { buildDisk, type GuestImages, runTool } from './guest-images.js';
import { cutPower } from './lossy-disk.js';

export interface PowerCutsOptions {
  readonly images: GuestImages;
  /** For its files. */
  readonly folder: string;
  /** The program below the gateway's folder. */
  readonly program: string;
  readonly cuts: number;
  readonly random: () => number;
  readonly say: (line: string) => void;
  /** Ends with the first loss. */
  readonly untilLost?: boolean;
}

export interface PowerCutsOutcome {
  readonly cuts: number;
  readonly acknowledgements: number;
  /** Pieces of writes that the cuts took away. */
  readonly dropped: number;
  readonly lost: string[];
}

const dataSize = '256M';
/** The device and the session that was away get what they are owed each so many cuts. */
const collectEvery = 10;
const connectTimeoutMs = 30_000;
/** The power is cut after so many more, as luck will have it, and a moment. */
const mostAcknowledgements = 40;
const mostMomentMs = 200;
const loadLimitMs = 120_000;

export const runPowerCuts = async (options: PowerCutsOptions): Promise<PowerCutsOutcome> => {
  const { images, folder, program, random, say } = options;
  await mkdir(folder, { recursive: true });
  const file = (name: string): string => join(folder, name);
  const [data, before, log] = [file('data.img'), file('before.img'), file('writes.log')];
  const site = await openEnrolledSite();
  const load = new SiteLoad({
    // The forwarded port takes connections also while nobody is behind it.
    connect: (suffix, more) => site.connect(suffix, { connectTimeout: connectTimeoutMs, ...more }),
  });
  const boot = () => bootGuest({ images, data, log, port: site.port, program });
  const lost: string[] = [];
  let dropped = 0;
  let cuts = 0;
  try {
    buildDisk(data, site.folder, dataSize);
    while (cuts < options.cuts && !(options.untilLost && lost.length > 0)) {
      await copyFile(data, before);
      const guest = await boot();
      try {
        if (cuts === 0) await load.start();
        if (cuts % collectEvery === collectEvery - 1) await load.collect();
        const enough = load.acknowledgements + 1 + Math.floor(random() * mostAcknowledgements);
        await waitUntil(`${enough} acknowledgements`, () => load.acknowledgements >= enough, {
          deadlineMs: loadLimitMs,
          everyMs: 5,
        });
        await wait(random() * mostMomentMs);
      } finally {
        await guest.cut();
      }
      cuts += 1;
      const cut = await cutPower({ before, log, after: data }, random);
      dropped += cut.dropped;
      const gone = await lostOn(data, file('found'), load);
      lost.push(...gone);
      const { acknowledgements } = load;
      say(
        `cut ${cuts}: ${cut.writes} writes, ${cut.unflushed} not flushed, ${cut.dropped} pieces dropped; ${acknowledgements} acknowledged so far, ${gone.length} lost`,
      );
      if (gone.length > 0) say(`  LOST ${gone.slice(0, 10).join(', ')}`);
    }
    return { cuts, acknowledgements: load.acknowledgements, dropped, lost };
  } finally {
    load.abandon();
    await site.close();
  }
};

/** Reads the files out of a copy of the disk, as a mount would find them. */
const lostOn = async (disk: string, folder: string, load: SiteLoad): Promise<string[]> => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const copy = join(folder, 'disk.img');
  const files = join(folder, 'files');
  await mkdir(files);
  await copyFile(disk, copy);
  try {
    // 0 and 1: in order, or set right; replaying the journal of ext4 is what any mount does.
    runTool('e2fsck', ['-fp', copy]);
  } catch (error) {
    if ((error as { status?: number }).status !== 1) throw error;
  }
  runTool('debugfs', ['-R', `rdump / ${files}`, copy]);
  return findLost(files, load);
};
