/** Small application archives as the Pi agent installs them: for the quickstart, and for tests that need a good and a bad one. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { runChild } from '../program/children.js';
import { bins } from './programs.js';

export interface SampleFirmware {
  readonly version: string;
  /** `crashes`: it ends before it was healthy, so that a device goes back to what it had. */
  readonly behaviour: 'works' | 'crashes';
}

const readyText = 'sample application ready';

/** Writes the archive (.tar) with `holdfast-device pack`. */
export const writeSampleFirmware = async (path: string, sample: SampleFirmware): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-sample-'));
  try {
    await writeFile(join(folder, 'holdfast-app.json'), manifestOf(sample));
    await writeFile(join(folder, 'app.mjs'), programOf(sample));
    const packed = await runChild({ bin: bins.device, args: ['pack', folder, '--out', path] });
    if (packed.code !== 0) throw new HoldfastError('CHILD_FAILED', packed.stderr);
  } finally {
    await rm(folder, { recursive: true });
  }
};

const manifestOf = ({ version }: SampleFirmware): string =>
  `${JSON.stringify(
    {
      name: 'sample',
      version,
      command: [process.execPath, 'app.mjs'],
      health: { type: 'ready_line', line: readyText },
      deadline_s: 30,
      max_starts: 2,
    },
    null,
    2,
  )}\n`;

const programOf = ({ version, behaviour }: SampleFirmware): string =>
  behaviour === 'crashes'
    ? `console.error('sample application ${version} is broken on purpose');\nprocess.exit(1);\n`
    : `console.log('${readyText}');\nprocess.on('SIGTERM', () => process.exit(0));\nsetInterval(() => undefined, 60_000);\n`;
