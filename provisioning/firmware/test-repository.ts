/** For tests: the files of a repository on disk, and a client that looks at nothing else. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { referenceTo } from '../documents/plan.js';
import { digestFile } from './image-digests.js';
import { type MetadataFile, metadataId } from './metadata-file.js';
import { MetadataFolder } from './metadata-folder.js';
import type { HeadOfMetadata } from './plan-mandate.js';
import { type TestManifest, TestReleases } from './test-releases.js';
import type { TrustedState } from './trusted-state.js';
import { type VerifyOptions, verifyRelease } from './verify-release.js';

/** When everything happens. */
export const now = Date.UTC(2030, 0, 1);
export const hourMs = 3_600_000;

export const repository = async (
  t: { teardown(end: () => unknown): unknown },
  releases = new TestReleases(),
) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-attacks-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const metadata = new MetadataFolder(folder);
  const imagePath = (target: string) => join(folder, 'images', target);
  const publish = async (): Promise<HeadOfMetadata> => {
    for (const file of releases.metadata()) await metadata.write(file);
    return headOf(releases.metadata());
  };
  return {
    folder,
    releases,
    metadata,
    imagePath,
    publish,
    add: async (manifest: TestManifest) => {
      const release = releases.add(manifest);
      await mkdir(dirname(imagePath(release.target)), { recursive: true });
      await writeFile(imagePath(release.target), manifest.image);
      return release;
    },
    pathOf: (name: string) => join(folder, `${name}.json`),
    change: async (name: string, from: string | RegExp, to: string) => {
      const path = join(folder, `${name}.json`);
      const text = await readFile(path, 'utf8');
      const changed = text.replace(from, to);
      if (changed === text) throw new Error(`${name} has no ${from}`);
      await writeFile(path, changed);
    },
    /** Verifies, then reads the image as far as it is signed. The code of the refusal, or what is trusted now. */
    install: async (
      trusted: TrustedState | null,
      target: string,
      { at = now, ...options }: Partial<VerifyOptions> & { readonly at?: number | null } = {},
    ): Promise<string | TrustedState> => {
      try {
        const files = await metadata.read();
        const verdict = verifyRelease(trusted, files, target, at, { head: null, ...options });
        if (!verdict.ok) return verdict.code;
        const { sizeBytes, sha256 } = verdict.release;
        const found = await digestFile(imagePath(target), { mostBytes: sizeBytes });
        return found.sha256 === sha256 ? verdict.trusted : 'UPDATE_DIGEST_MISMATCH';
      } catch (error) {
        if (isHoldfastError(error)) return error.code;
        throw error;
      }
    },
  };
};

export const headOf = (files: readonly MetadataFile[], issuedAt = now): HeadOfMetadata => ({
  issued_at: issuedAt,
  expires_at: issuedAt + 24 * hourMs,
  grace: hourMs,
  documents: files.map((body) =>
    referenceTo({ kind: 'metadata', id: metadataId(body), revision: 1, body }),
  ),
});
