/**
 * What a person at the site may have flashed: a release that is here and that the plan trusts, an older one too; a lower counter never. What
 * was flashed here and has run since needs no plan that still names it: it was trusted then, and a plan names what campaigns under way install.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { FirmwareRelease } from '@holdfast/provisioning/firmware/manifest';
import type { Device } from '../../../devices/device.js';
import type { FirmwareRefusal } from '../../../updates/firmware-releases.js';
import { refuseForLine } from './fits-line.js';
import type { LineImage } from './flash-state.js';
import { type LineImagesDeps, lineImage } from './line-images.js';

export interface FlashByHandDeps {
  readonly devices: { get(device: string): Device | undefined };
  readonly firmware: Pick<LineImagesDeps['firmware'], 'find' | 'isHeld'>;
  readonly releases: {
    /** The release that was verified for an image of the plan. */
    release(image: FirmwareBody): FirmwareRelease | undefined;
    refusal(image: FirmwareBody): FirmwareRefusal | undefined;
    /** Whether the plan says anything of it, good or bad. */
    isPlanned(image: FirmwareBody): boolean;
    /** Why a person may not have it flashed into a device. */
    refusalByHand(image: FirmwareBody, device: Device): FirmwareRefusal | undefined;
  };
}

export interface HandWish {
  readonly part: string;
  /** Undefined: what runs, or ran last. */
  readonly version: string | undefined;
  /** What was flashed here and has run since. */
  readonly ran: LineImage | null;
}

export class FlashByHand {
  readonly #deps: FlashByHandDeps;

  constructor(deps: FlashByHandDeps) {
    this.#deps = deps;
  }

  /** RESOURCE_NOT_FOUND when it is not here, RESOURCE_CONFLICT with what it is refused for. */
  wanted(device: string, { part, version, ran }: HandWish): LineImage {
    const known = this.#deps.devices.get(device);
    const wanted = version ?? ran?.version ?? known?.firmwareVersion ?? undefined;
    if (known === undefined || wanted === undefined) {
      const message = `nobody knows what ${device} ran: name a version`;
      throw new HoldfastError('RESOURCE_NOT_FOUND', message);
    }
    const name = `${known.model}@${wanted}`;
    const body = this.#deps.firmware.find(name);
    if (body === undefined || !this.#deps.firmware.isHeld(body.sha256)) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `${name} is not in the cache`, {
        data: { next: 'holdfast --gateway firmware list' },
      });
    }
    const refusal = this.#judge(body, known, { part, ran });
    if (refusal === undefined) return lineImage(body);
    const isPlanned = this.#deps.releases.isPlanned(body);
    throw new HoldfastError('RESOURCE_CONFLICT', `${refusal.code}: ${refusal.message}`, {
      data: isPlanned ? {} : { next: `start a campaign with ${name}: it is flashed by that` },
    });
  }

  /** The same right before it is done: the plan may be another by now. */
  refusal(
    device: string,
    image: LineImage,
    line: Pick<HandWish, 'part' | 'ran'>,
  ): FirmwareRefusal | undefined {
    const known = this.#deps.devices.get(device);
    const body = this.#deps.firmware.find(`${image.model}@${image.version}`);
    return known === undefined || body?.sha256 !== image.sha256
      ? { code: 'RESOURCE_NOT_FOUND', message: `${image.version} is gone` }
      : this.#judge(body, known, line);
  }

  #judge(
    body: FirmwareBody,
    known: Device,
    { part, ran }: Pick<HandWish, 'part' | 'ran'>,
  ): FirmwareRefusal | undefined {
    const { releases } = this.#deps;
    if (body.sha256 === ran?.sha256 && !releases.isPlanned(body)) return undefined;
    const refusal = releases.refusal(body) ?? releases.refusalByHand(body, known);
    const release = releases.release(body);
    return refusal ?? (release && refuseForLine(release, part));
  }
}
