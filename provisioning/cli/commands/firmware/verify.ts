/** `firmware verify`: what a device would say of an image. Offline, against a root. */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { digestFile, fileSize } from '../../../firmware/image-digests.js';
import { isImageSignature } from '../../../firmware/image-signature.js';
import { parseTargetName } from '../../../firmware/manifest.js';
import { type MetadataFile, metadataId } from '../../../firmware/metadata-file.js';
import { readMetadataFile } from '../../../firmware/metadata-folder.js';
import { targetsContentOf } from '../../../firmware/read-contents.js';
import { trustRoot } from '../../../firmware/trusted-state.js';
import { verifyRelease } from '../../../firmware/verify-release.js';
import type { CommandContext } from '../../context.js';
import { bytes } from '../../terminal.js';
import { withProgress } from './progress.js';
import { keyFolder, metadataFolder, type SigningOptions, wholeNumber } from './signing-options.js';

export interface VerifyOptions extends SigningOptions {
  readonly root?: string;
  readonly model?: string;
  readonly hardware?: string;
  readonly current?: string;
  readonly securityCounter?: string;
  readonly allowExpired?: boolean;
}

/** Errors: the code of what a device would refuse it with. */
export const verifyFirmware = async (
  context: CommandContext,
  file: string,
  options: VerifyOptions,
): Promise<void> => {
  const { terminal, signal, now } = context;
  const files = await metadataFolder(context, options).read();
  const root = await rootOf(files, options.root);
  const sizeBytes = await fileSize(file);
  const digests = await withProgress(terminal, 'reading', sizeBytes, (onRead) =>
    digestFile(file, { signal, onRead }),
  );
  const target = targetOf(files, file, digests.sha256, options.model);
  const at = options.allowExpired === true ? null : now();
  const verdict = verifyRelease(trustRoot(root), files, target, at, {
    head: null,
    device: deviceOf(options),
  });
  if (!verdict.ok) throw refusal(verdict.code, verdict.message);
  const { release } = verdict;
  if (release.sizeBytes !== sizeBytes || release.sha256 !== digests.sha256) {
    throw refusal(
      'UPDATE_DIGEST_MISMATCH',
      `${file} has other bytes than ${target}, which is what was signed`,
    );
  }
  const { manifest } = release;
  const keys = await keyFolder(context, options).list();
  const imageSignatures = manifest.image_signatures.map((signature) => {
    const key = keys.find(({ publicKey }) =>
      isImageSignature(digests.sha256, signature, publicKey),
    );
    return { key_id: signature.key_id, scheme: signature.scheme, verified_with: key?.name ?? null };
  });
  terminal.fields({ ...release, image_signatures: imageSignatures }, [
    ['release', release.target],
    ['signed by', `${release.signedBy}, by root ${verdict.trusted.versions.root}`],
    ['size', bytes(release.sizeBytes)],
    ['sha256', release.sha256],
    ['model', manifest.model],
    ['version', manifest.version],
    ['hardware', manifest.hardware.join(', ') || 'any'],
    ['can follow', manifest.source_versions || 'any version'],
    ['security counter', manifest.security_counter],
    ['installer', manifest.installer],
    ...(manifest.part === undefined ? [] : [['part', manifest.part] as const]),
    ...imageSignatures.map(
      ({ scheme, verified_with, key_id }) =>
        [
          'image signature',
          `${scheme}, ${verified_with === null ? `of the key ${key_id.slice(0, 12)}…, not checked: its public half is not in the keys` : `good, of ${verified_with}`}`,
        ] as const,
    ),
  ]);
  terminal.line(`${terminal.paint('green', '✓')} it is what was signed`);
};

const rootOf = async (
  files: readonly MetadataFile[],
  path: string | undefined,
): Promise<MetadataFile> => {
  if (path !== undefined) return readMetadataFile(path, 'root');
  const root = files.find((each) => metadataId(each) === 'root.1');
  if (root !== undefined) return root;
  throw new HoldfastError('FIRMWARE_METADATA_MISSING', 'there is no root to trust', {
    data: { next: 'say which with --root, or fetch the metadata: holdfast firmware pull' },
  });
};

/** The name under which the bytes are signed; one that is signed with other bytes where only the name fits. */
const targetOf = (
  files: readonly MetadataFile[],
  file: string,
  sha256: string,
  model: string | undefined,
): string => {
  const all = files
    .filter(({ role }) => role !== 'root')
    .flatMap((each) => Object.entries(targetsContentOf(each).targets));
  const same = all.filter(([, said]) => said.hashes.sha256 === sha256).map(([name]) => name);
  const ofModel = same.find((name) => parseTargetName(name)?.model === model);
  const fileName = file.split('/').at(-1);
  const named = all.map(([name]) => name).filter((name) => name.split('/').at(-1) === fileName);
  const found = ofModel ?? same[0] ?? (named.length === 1 ? named[0] : undefined);
  if (found !== undefined) return found;
  throw refusal('FIRMWARE_TARGET_UNKNOWN', `nobody has signed ${file} as it is`);
};

const deviceOf = ({ model, hardware, current, securityCounter }: VerifyOptions) => ({
  model,
  hardware,
  version: current,
  securityCounter:
    securityCounter === undefined
      ? undefined
      : wholeNumber(securityCounter, '--security-counter', 0),
});

const refusal = (code: ErrorCode, message: string): HoldfastError =>
  new HoldfastError(code, message, { data: { next: nextSteps[code] ?? 'do not install it' } });

const nextSteps: Partial<Record<ErrorCode, string>> = {
  FIRMWARE_METADATA_EXPIRED: 'let it hold longer where its keys are: holdfast firmware keys renew',
  FIRMWARE_METADATA_MISSING: 'fetch the metadata: holdfast firmware pull',
  FIRMWARE_THRESHOLD_NOT_MET: 'bring the other keys: holdfast firmware keys sign ROLE',
};
