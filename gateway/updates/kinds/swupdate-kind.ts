/** A device that is updated by Debian's SWUpdate: its slot is a file, its restart another process. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type SwupdateAccess,
  swupdateConfiguration,
} from '@holdfast/provisioning/cli/commands/target-tokens';
import type { Test } from 'tap';
import { makeReleaseKey, makeSwu, Swupdate } from '../../doors/ddi/test-swupdate.js';
import type { KindOfDevice } from './kind.js';

export interface SwupdateKindOptions {
  readonly device: string;
  readonly model: string;
  readonly version: string;
  /** What the image holds. */
  readonly file: Uint8Array;
  /** Its own folder; SWUpdate has sockets in it, whose names must not be long. */
  readonly folder: string;
  readonly access: SwupdateAccess;
  readonly root: string;
  /** Resolves when the site knows that it has come so far. */
  readonly until: (...statuses: readonly string[]) => Promise<string>;
}

/** SWUpdate 2022.12 may hang as an update ends on a busy machine: then it is started anew, as a device's watchdog would. */
const watchdogMs = 10_000;

export const openSwupdateKind = async (
  t: Test,
  { device, model, version, file, folder, access, root, until }: SwupdateKindOptions,
): Promise<KindOfDevice> => {
  const [slot, cafile] = [join(folder, 'slot.img'), join(folder, 'root.pem')];
  const [image, run] = [join(folder, 'update.swu'), join(folder, 'run')];
  await mkdir(run, { recursive: true });
  await writeFile(cafile, root);
  await writeFile(slot, '');
  const key = await makeReleaseKey(folder, 'release');
  const swu = await makeSwu(join(folder, 'made'), {
    ...{ version, hardware: '1.0', fileName: 'image', file, signedBy: key },
    image: `type = "raw"; device = "${slot}";`,
  });
  await writeFile(image, swu);
  const swupdate = new Swupdate({
    ...{ folder: run, key, pollS: 1, identity: { serial: device } },
    configuration: swupdateConfiguration({ ...access, cafile }),
  });
  t.teardown(() => swupdate.kill());
  return {
    ...{ device, model, image },
    story: () => swupdate.output,
    start: () => swupdate.start(),
    async update() {
      await until('downloading', 'installing', 'rebooting');
      const watchdog = setInterval(() => void swupdate.restart(), watchdogMs);
      await until('rebooting').finally(() => clearInterval(watchdog));
      if (!(await readFile(slot)).equals(file)) throw new Error('it installed something else');
      await swupdate.kill();
      await swupdate.start({ confirm: 2 });
    },
  };
};
