/** What a gateway with many shadows takes to start and in memory, beside one with none. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import { openSiteUnderTest, type RunningSite } from '../../trust/site-under-test.js';
import { decideShadow } from '../decide-shadow.js';
import { defaultShadowLimits } from '../shadow-decision.js';
import { noShadow, type ShadowKey, shadowStatement } from '../stored-shadow.js';
import type { Figure } from './figures.js';
import { documentOf } from './measure-link.js';

const readAtOnce = 16;
const devices = 1_000;
const keyOf = (at: number): ShadowKey => ({
  device: `device-${at % devices}`,
  name: `shadow-${Math.floor(at / devices)}`,
});

export const measureMemory = async (count: number): Promise<Figure[]> => {
  const site = await openSiteUnderTest();
  try {
    const emptyStartMs = await site.whileStopped(async () => undefined);
    const emptyMiB = await residentMiB(site);
    await site.whileStopped(() => fill(join(site.folder, 'site.db'), count));
    const startMs = await site.whileStopped(async () => undefined);
    const resident = await residentMiB(site);
    const reads = Math.min(count, 20_000);
    const begun = performance.now();
    await readMany(site, count, reads);
    const readMs = (performance.now() - begun) / reads;
    const thousands = `${count.toLocaleString('en')} shadows of 1 KB, of ${devices} devices`;
    const none = 'with none';
    return [
      {
        ...{ what: `start to ready with ${thousands}`, value: startMs, unit: 'ms' },
        baseline: { what: none, value: emptyStartMs },
      },
      {
        ...{ what: `RSS with ${thousands}, started`, value: resident, unit: 'MiB' },
        baseline: { what: none, value: emptyMiB },
      },
      {
        what: `RSS after ${reads.toLocaleString('en')} of them were read`,
        value: await residentMiB(site),
        unit: 'MiB',
      },
      { what: 'reading one over the local API', value: readMs, unit: 'ms' },
    ];
  } finally {
    await site.close();
  }
};

const residentMiB = async ({ pid }: RunningSite): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1_024;
};

/** As devices would have filled it, without the years that takes. */
const fill = async (path: string, count: number): Promise<void> => {
  const database = await openDatabase({ path });
  try {
    await database.exec('BEGIN');
    for (let at = 0; at < devices; at += 1) {
      const sql = `INSERT INTO devices (device, model, serial_no, door, enrolled_at)
        VALUES (?, '', '', 'native', 0)`;
      await database.run(sql, [`device-${at}`]);
    }
    for (let at = 0; at < count; at += 1) {
      const { device, name } = keyOf(at);
      const decision = decideShadow(
        noShadow,
        {
          type: 'update',
          writer: `device:${device}`,
          patch: { reported: documentOf(`${device} ${name}`) },
        },
        {
          ...{ name: 'classic', shadow: '-', rules: [], replica: 'bench', seen: zeroTime },
          ...{ clock: { now: 1e12 + at, trusted: true }, limits: defaultShadowLimits },
        },
      );
      if (decision.kind !== 'changed') throw new Error('the bench wrote no shadow');
      const { sql, params } = shadowStatement(
        { device, name },
        noShadow,
        decision.shadow,
        1e12 + at,
      );
      await database.run(sql, params);
    }
    await database.exec('COMMIT');
  } finally {
    await database.close();
  }
};

const readMany = async (site: RunningSite, count: number, reads: number): Promise<void> => {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < reads) {
      next += 1;
      const { device, name } = keyOf((next * 7_919) % count);
      const path = `/api/v1/devices/${device}/shadows/${name}`;
      const { status } = await site.ask('GET', path);
      if (status !== 200) throw new Error(`${path} was answered with ${status}`);
    }
  };
  await Promise.all(Array.from({ length: readAtOnce }, lane));
};
