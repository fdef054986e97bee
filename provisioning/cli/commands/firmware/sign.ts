/** `firmware sign`: an image becomes a release. */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { parseVersionRange } from '@holdfast/protos/semantics/version-order';
import * as v from 'valibot';
import type { FlashImage } from '../../../firmware/flash/flash-image.js';
import { imageForPart } from '../../../firmware/flash/signed-part.js';
import { digestFile, fileSize } from '../../../firmware/image-digests.js';
import { signImage } from '../../../firmware/image-signature.js';
import {
  type FirmwareManifest,
  firmwareManifest,
  type Installer,
  namePart,
  targetName,
} from '../../../firmware/manifest.js';
import type { SigningDesk } from '../../../firmware/signing-desk.js';
import type { TargetContent } from '../../../firmware/write-metadata.js';
import type { CommandContext } from '../../context.js';
import { bytes } from '../../terminal.js';
import { withProgress } from './progress.js';
import { showSigned } from './show-signed.js';
import { openSigning, type Signing, type SigningOptions, wholeNumber } from './signing-options.js';

export interface SignOptions extends SigningOptions {
  readonly model: string;
  readonly version: string;
  readonly role?: string;
  readonly hardware?: readonly string[];
  readonly sourceVersions?: string;
  readonly securityCounter: string;
  readonly installer: Installer;
  readonly part?: string;
  readonly step?: readonly string[];
  readonly imageKey?: readonly string[];
}

export const signFirmware = async (
  context: CommandContext,
  file: string,
  options: SignOptions,
): Promise<void> => {
  const { terminal, signal } = context;
  const fileName = basename(file);
  const unsigned = manifestOf(options, fileName);
  const target = targetName({ ...options, fileName });
  const sizeBytes = await fileSize(file);
  const flashed =
    unsigned.part === undefined ? undefined : await flashedImage(file, unsigned.part, options);
  const signing = await openSigning(context, options);
  const role = roleFor(signing.desk, target, options.role);
  const { sha256, sha1, md5 } = await withProgress(terminal, 'reading', sizeBytes, (onRead) =>
    digestFile(file, { signal, onRead }),
  );
  const custom = { ...unsigned, image_signatures: await imageSignatures(signing, sha256, options) };
  const content: TargetContent = { length: sizeBytes, hashes: { sha256, sha1, md5 }, custom };
  const before = signing.desk.targets(role).targets[target];
  if (before !== undefined && before.hashes.sha256 !== sha256) {
    throw new HoldfastError(
      'RESOURCE_EXISTS',
      `${target} is signed already, with other bytes. Give this image a version of its own`,
    );
  }
  const signed = await signing.desk.changeTargets(role, (said) => ({
    ...said,
    targets: { ...said.targets, [target]: content },
  }));
  terminal.line(
    `${terminal.paint('green', '✓')} ${target}  ${bytes(sizeBytes)}  sha256 ${sha256.slice(0, 12)}…`,
  );
  if (flashed !== undefined) {
    terminal.line(`  ${bytes(flashed.bytes.length)} in the flash of an ${unsigned.part}`);
  }
  showSigned(signing, [signed], {
    next: `holdfast firmware upload ${file}`,
    target,
    sha256,
    size_bytes: sizeBytes,
    manifest: custom,
  });
};

/** What a microcontroller holds is small, in whatever form. Errors: those of `imageForPart`. */
const flashedImage = async (
  file: string,
  part: string,
  { version }: SignOptions,
): Promise<FlashImage> => {
  const sizeBytes = await fileSize(file);
  if (sizeBytes > largestFlashedBytes) {
    throw new HoldfastError('FLASH_IMAGE_TOO_LARGE', `${file} has ${bytes(sizeBytes)}`);
  }
  return imageForPart(await readFile(file), part, version);
};

const largestFlashedBytes = 16 * 1024 * 1024;

/** Errors: REQUEST_INVALID. */
const manifestOf = (options: SignOptions, fileName: string): FirmwareManifest => {
  if (!namePart.test(fileName)) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `the file is named with 1 to 128 letters, digits and . _ + -, and not "${fileName.slice(0, 200)}"`,
    );
  }
  const { sourceVersions = '' } = options;
  if (parseVersionRange(sourceVersions) === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `"${sourceVersions}" is no range of versions like '>=1.4 <3'`,
    );
  }
  const parsed = v.safeParse(firmwareManifest, {
    model: options.model,
    version: options.version,
    hardware: options.hardware ?? [],
    source_versions: sourceVersions,
    security_counter: wholeNumber(options.securityCounter, '--security-counter', 0),
    installer: options.installer,
    ...(options.part === undefined ? {} : { part: options.part }),
    steps: (options.step ?? []).map(parseStep),
    image_signatures: [],
  });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new HoldfastError('REQUEST_INVALID', `${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
};

const parseStep = (text: string): FirmwareManifest['steps'][number] => {
  const [, name = '', file = '', seconds = ''] = /^([^=]+)=([^:]+):(\d+)$/.exec(text) ?? [];
  if (name !== '') return { name, file, timeout_ms: Number(seconds) * 1000 };
  throw new HoldfastError(
    'REQUEST_INVALID',
    `"${text.slice(0, 200)}" is no step like install=install.sh:600`,
  );
};

/** The role that signs it: the one named, or the first whose key is here and that the name is delegated to. */
const roleFor = (desk: SigningDesk, target: string, named: string | undefined): string => {
  const matching = desk.rolesFor(target);
  if (named !== undefined && matching.includes(named)) return named;
  if (named !== undefined) {
    throw new HoldfastError('NOT_AUTHORISED', `nothing lets ${named} sign ${target}`, {
      data: { next: 'holdfast firmware keys list shows who signs what' },
    });
  }
  const held = matching.find((role) => desk.signersOf(role).some((id) => desk.isHeld(id)));
  if (held !== undefined) return held;
  const next = matching.some((role) => role !== 'targets')
    ? `bring the keys of ${matching.filter((role) => role !== 'targets').join(' or ')}, or add one: holdfast firmware keys add NAME --role ROLE`
    : `holdfast firmware keys delegate release --paths '*/*/*'`;
  throw new HoldfastError('NOT_AUTHORISED', `no key that may sign ${target} is here`, {
    data: { next },
  });
};

const imageSignatures = async (
  { desk, openKey }: Signing,
  sha256: string,
  { imageKey = [] }: SignOptions,
): Promise<FirmwareManifest['image_signatures']> => {
  const signatures = [];
  for (const name of imageKey) {
    desk.key(name);
    signatures.push(signImage(sha256, await openKey(name)));
  }
  return signatures;
};
