/**
 * A site on a machine whose power is cut again and again, and what it has kept of what it had promised.
 *
 * A life of the machine costs a boot in software, so each is cut at several moments: what was promised until then is noted, and
 * afterwards the disk is made as that moment would have left it. The last moment is the real one, and the next life begins there.
 */
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { wait } from '@holdfast/provisioning/time/wait';
import { openEnrolledSite } from '../faults/enrolled-site.js';
import { type Account, SiteLoad } from '../faults/site-load.js';
import { faultsOn } from './found-disk.js';
import { bootGuest } from './guest.js';
import { buildDisk, type GuestImages } from './guest-images.js';
import { cutPower, readWriteLog } from './lossy-disk.js';

export interface PowerCutsOptions {
  readonly images: GuestImages;
  /** For its files. */
  readonly folder: string;
  /** The program below the gateway's folder. */
  readonly program: string;
  readonly cuts: number;
  readonly random: () => number;
  readonly say: (line: string) => void;
  /** Ends with the life that lost something. */
  readonly untilLost?: boolean;
}

export interface PowerCutsOutcome {
  readonly cuts: number;
  readonly lives: number;
  readonly acknowledgements: number;
  /** Pieces of writes that the cuts took away. */
  readonly dropped: number;
  readonly lost: string[];
}

/** A moment at which the power may go. */
interface Moment {
  readonly account: Account;
  /** In the log of writes; what the account has was promised before. */
  readonly position: number;
}

const dataSize = '256M';
const cutsOfLife = 10;
const mostAcknowledgements = 12;
/** Writes under way at a moment are in the log by then; it may have holes until they are. */
const settlingMs = 100;
const betweenMs = 400;
const connectTimeoutMs = 30_000;
const loadLimitMs = 240_000;

export const runPowerCuts = async (options: PowerCutsOptions): Promise<PowerCutsOutcome> => {
  const { images, folder, program, random, say } = options;
  await mkdir(folder, { recursive: true });
  const file = (name: string): string => join(folder, name);
  const [data, before, after, log] = [
    file('data.img'),
    file('before.img'),
    file('after.img'),
    file('writes.log'),
  ];
  const site = await openEnrolledSite();
  const load = new SiteLoad({
    // The forwarded port takes connections also while nobody is behind it.
    connect: (suffix, more) => site.connect(suffix, { connectTimeout: connectTimeoutMs, ...more }),
  });
  const positionNow = async (): Promise<number> => (await readWriteLog(log)).length;

  const nextMoment = async (): Promise<Moment> => {
    const enough = load.acknowledgements + 1 + Math.floor(random() * mostAcknowledgements);
    await waitUntil(`${enough} acknowledgements`, () => load.acknowledgements >= enough, {
      deadlineMs: loadLimitMs,
      everyMs: 5,
    });
    const promised = structuredClone(load.promised);
    await wait(settlingMs);
    const first = await positionNow();
    await wait(betweenMs);
    const last = await positionNow();
    // Any write between is as good; what arrived is taken later, for what arrived is deleted.
    return {
      account: {
        ...structuredClone({ accepted: load.accepted, delivered: load.delivered }),
        promised,
      },
      position: first + Math.floor(random() * (last - first + 1)),
    };
  };

  const live = async (life: number, moments: number): Promise<Moment[]> => {
    const guest = await bootGuest({ images, data, log, port: site.port, program });
    try {
      if (life === 1) await load.start();
      else await load.collect();
      const noted: Moment[] = [];
      while (noted.length < moments - 1) noted.push(await nextMoment());
      return noted;
    } finally {
      await guest.cut();
    }
  };

  const lost: string[] = [];
  let dropped = 0;
  let cuts = 0;
  let lives = 0;
  try {
    buildDisk(data, site.folder, dataSize);
    while (cuts < options.cuts && !(options.untilLost && lost.length > 0)) {
      lives += 1;
      await copyFile(data, before);
      const noted = await live(lives, Math.min(cutsOfLife, options.cuts - cuts));
      const operations = await readWriteLog(log);
      for (const moment of [...noted, { account: load, position: operations.length }]) {
        const cut = await cutPower({ before, after }, operations, moment.position, random);
        const faults = await faultsOn(after, file('found'), moment.account);
        cuts += 1;
        dropped += cut.dropped;
        lost.push(...faults);
        say(
          `cut ${cuts}, life ${lives}: ${cut.writes} writes, ${cut.unflushed} not flushed, ${cut.dropped} pieces dropped, ${faults.length} lost`,
        );
        if (faults.length > 0) say(`  LOST ${faults.slice(0, 10).join(', ')}`);
      }
      await copyFile(after, data);
    }
    return { cuts, lives, acknowledgements: load.acknowledgements, dropped, lost };
  } finally {
    load.abandon();
    await site.close();
    await rm(file('found'), { recursive: true, force: true });
  }
};
