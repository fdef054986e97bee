/** What a release of firmware says about itself: the `custom` part of its TUF target, signed with it. */
import * as v from 'valibot';

/** A model, a version or a file's name, as it stands in names and paths. */
export const namePart = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/;

const id = v.pipe(v.string(), v.regex(namePart, 'not letters, digits and . _ + -'));
const hexadecimal = v.pipe(v.string(), v.regex(/^(?:[0-9a-f]{2})+$/, 'not hexadecimal'));

/**
 * How the image is installed by the agent. `flash`: into a microcontroller, by what it hangs on (a gateway, an agent in front of it);
 * `raw` is left to whoever takes it.
 */
export const installer = v.picklist(['slots', 'rauc', 'swupdate', 'script', 'flash', 'raw']);

/** A signature over the 32 bytes of the image's SHA-256, for devices that check one signature and nothing else. */
export const imageSignature = v.strictObject({
  /** SHA-256 of the public key's SubjectPublicKeyInfo in DER. */
  key_id: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  /** RSA: 4096 bits, PSS with SHA-256, MGF1 with SHA-256 and 32 bytes of salt. */
  scheme: v.picklist(['ed25519', 'rsassa-pss-sha256']),
  signature: v.pipe(hexadecimal, v.maxLength(1024)),
});

const manifestFields = v.strictObject({
  model: id,
  version: id,
  /** Revisions of the hardware that it runs on; empty: any. */
  hardware: v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(64))), v.maxLength(64)),
  /** Which versions it can follow, as a range; empty: any. */
  source_versions: v.pipe(v.string(), v.maxLength(256)),
  /** Only rises: a device refuses an image whose counter is lower than that of one it has run. */
  security_counter: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  installer,
  /** Of the installer `flash`: the microcontroller, by avrdude's long name; of MCUboot any name that the line has too. */
  part: v.exactOptional(v.pipe(id, v.maxLength(64))),
  /** Of the installer `script`, in their order. */
  steps: v.pipe(
    v.array(
      v.strictObject({
        name: id,
        file: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
        timeout_ms: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
      }),
    ),
    v.maxLength(64),
  ),
  image_signatures: v.pipe(v.array(imageSignature), v.maxLength(8)),
});

export const firmwareManifest = v.pipe(
  manifestFields,
  v.forward(
    v.check(
      (said) => said.installer !== 'flash' || said.part !== undefined,
      'the installer flash needs the part that it is for, as atmega328p',
    ),
    ['part'],
  ),
  v.forward(
    v.check(
      (said) => said.installer === 'flash' || said.part === undefined,
      'only the installer flash has a part',
    ),
    ['part'],
  ),
);

export type FirmwareManifest = v.InferOutput<typeof firmwareManifest>;
export type ImageSignature = v.InferOutput<typeof imageSignature>;
export type Installer = v.InferOutput<typeof installer>;

/** What a target says of the bytes: SHA-256 is what counts, the others serve old clients. */
export const targetHashes = v.strictObject({
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  sha1: v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/)),
  md5: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
});

/** A release as the one who verified it knows it. */
export interface FirmwareRelease {
  /** Name of the TUF target: `{model}/{version}/{file_name}`. */
  readonly target: string;
  readonly manifest: FirmwareManifest;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
  /** Name of the role that signed it: `targets`, or a delegated one. */
  readonly signedBy: string;
}

export interface TargetParts {
  readonly model: string;
  readonly version: string;
  readonly fileName: string;
}

export const targetName = ({ model, version, fileName }: TargetParts): string =>
  `${model}/${version}/${fileName}`;

/** undefined when it is no name of a target. */
export const parseTargetName = (target: string): TargetParts | undefined => {
  const [model, version, fileName, ...more] = target.split('/');
  if (model === undefined || version === undefined || fileName === undefined) return undefined;
  const areParts = [model, version, fileName].every((part) => namePart.test(part));
  return areParts && more.length === 0 ? { model, version, fileName } : undefined;
};
