/** An execution as the deployment that a client of hawkBit's device interface is told: one chunk with one artifact, since RAUC's updater takes no more. */
import type { DdiArtifact, DdiDeployment } from '@holdfast/protos/ddi/ddi-answers';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { DdiLinks } from './ddi-links.js';

/** Hexadecimal. */
export interface WeakDigests {
  readonly sha1: string;
  readonly md5: string;
}

export interface DeploymentParts {
  readonly number: number;
  readonly image: FirmwareBody;
  readonly digests: WeakDigests;
  readonly links: DdiLinks;
  /** What the device has said last. */
  readonly messages: readonly string[];
  readonly status: string;
}

export const deploymentAnswer = (parts: DeploymentParts): DdiDeployment => {
  const { number, image, messages, status } = parts;
  return {
    id: String(number),
    deployment: {
      // `skip` would be answered with closed/success: what may not begin is not shown at all.
      ...{ download: 'forced', update: 'forced' },
      chunks: [
        {
          ...{ part: 'os', version: image.version, name: image.model },
          artifacts: [artifactAnswer(parts)],
        },
      ],
    },
    ...(messages.length > 0 && { actionHistory: { status, messages } }),
  };
};

export const artifactAnswer = ({
  number,
  image,
  digests: { sha1, md5 },
  links,
}: Pick<DeploymentParts, 'number' | 'image' | 'digests' | 'links'>): DdiArtifact => {
  const filename = artifactName(image);
  return {
    filename,
    size: image.size_bytes,
    hashes: { sha1, md5, sha256: image.sha256 },
    _links: {
      download: { href: links.artifact(number, filename) },
      md5sum: { href: links.md5(number, filename) },
    },
  };
};

/** SWUpdate passes over whatever is not called `.swu`; RAUC's updater does not look at the name. */
export const artifactName = ({ file_name }: Pick<FirmwareBody, 'file_name'>): string => {
  const name = file_name.split('/').at(-1) ?? '';
  return /.\.(?:swu|raucb)$/.test(name) ? name : `${name === '' ? 'update' : name}.swu`;
};
