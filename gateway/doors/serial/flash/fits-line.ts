/** Whether what is signed can be flashed over a line at all: said before it is offered, since no attempt would change that. */
import type { FirmwareRelease } from '@holdfast/provisioning/firmware/manifest';
import type { FirmwareRefusal, FirmwareVerdicts } from '../../../updates/firmware-releases.js';

/** `part` as the line has it: avrdude's names are written in any case. */
export const refuseForLine = (
  { target, manifest }: Pick<FirmwareRelease, 'target' | 'manifest'>,
  part: string,
): FirmwareRefusal | undefined => {
  if (manifest.installer !== 'flash') {
    const message = `${target} is made for the installer ${manifest.installer}, and the gateway flashes this device: sign it with --installer flash --part ${part}`;
    return { code: 'FLASH_PART_MISMATCH', message };
  }
  if (manifest.part?.toLowerCase() === part.toLowerCase()) return undefined;
  const message = `${target} is for the part ${manifest.part}, and the line has ${part}`;
  return { code: 'FLASH_PART_MISMATCH', message };
};

export interface FitsLineDeps {
  /** The release that was verified for an image of the plan. */
  readonly release: (
    image: Parameters<FirmwareVerdicts['refusal']>[0],
  ) => FirmwareRelease | undefined;
  /** The part on the line of a device that the gateway flashes. */
  readonly partOf: (device: string) => string | undefined;
}

/** The verdicts, with what a line asks besides. */
export const fittingLines = (
  verdicts: FirmwareVerdicts,
  { release, partOf }: FitsLineDeps,
): FirmwareVerdicts => ({
  take: (plan) => verdicts.take(plan),
  isOld: () => verdicts.isOld(),
  refusal: (image) => verdicts.refusal(image),
  refusalFor: (image, device, ...of) => {
    const refusal = verdicts.refusalFor(image, device, ...of);
    const part = partOf(device.device);
    const verified = part === undefined ? undefined : release(image);
    if (refusal !== undefined || part === undefined || verified === undefined) return refusal;
    return refuseForLine(verified, part);
  },
  runsOn: verdicts.runsOn,
  successWrite: (...of) => verdicts.successWrite(...of),
  succeeded: (...of) => verdicts.succeeded(...of),
});
