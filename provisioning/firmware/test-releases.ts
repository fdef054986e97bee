/**
 * A fleet that signs its firmware, in memory, for tests: two root keys of which both must sign, one targets key, and one key for the
 * releases of each model. Cheap (Ed25519, nothing on disk) and synchronous.
 *
 *     const releases = new TestReleases();
 *     const release = releases.add({ model: 'pump', version: '2.0', image });
 *     // into a plan: releases.documents() and { kind: 'firmware', id: release.id, body: release.body }
 */
import { createHash } from 'node:crypto';
import { type FirmwareManifest, targetName } from './manifest.js';
import { type MetadataFile, metadataId } from './metadata-file.js';
import { generateRoleKey, type RoleKey } from './role-key.js';
import { type TrustedState, trustRoot } from './trusted-state.js';
import {
  type RootContent,
  signRoot,
  signTargets,
  type TargetContent,
  type TargetsContent,
} from './write-metadata.js';

export interface TestRelease {
  /** `{model}@{version}`. */
  readonly id: string;
  readonly target: string;
  readonly image: Uint8Array;
  readonly content: TargetContent;
  /** The role that signs it. */
  readonly role: string;
  /** As a plan's document of kind `firmware` has it. */
  readonly body: {
    model: string;
    version: string;
    sha256: string;
    size_bytes: number;
    file_name: string;
    path: string;
    target: string;
  };
}

export type TestManifest = Partial<Omit<FirmwareManifest, 'model' | 'version'>> &
  Pick<FirmwareManifest, 'model' | 'version'> & {
    readonly image: Uint8Array;
    readonly fileName?: string;
  };

/** Until when everything is signed: 2100. */
const farAway = Date.UTC(2100, 0, 1);

export class TestReleases {
  readonly rootKeys: readonly RoleKey[] = [generateRoleKey(), generateRoleKey()];
  readonly targetsKeys: readonly RoleKey[] = [generateRoleKey()];
  /** By model. */
  readonly releaseKeys = new Map<string, RoleKey>();
  readonly #expiresAt: number;
  readonly #roots: MetadataFile[] = [];
  readonly #releases: TestRelease[] = [];
  #version = 0;
  #metadata: MetadataFile[] | undefined;

  constructor({ expiresAt = farAway }: { readonly expiresAt?: number } = {}) {
    this.#expiresAt = expiresAt;
    this.#roots.push(signRoot(this.rootContent(1), this.rootKeys));
  }

  /** Trust in the first root. */
  get trusted(): TrustedState {
    const [root] = this.#roots;
    if (root === undefined) throw new Error('there is no root');
    return trustRoot(root);
  }

  /** Signs one more release; the metadata's versions rise. */
  add({ image, fileName = 'image.bin', ...said }: TestManifest): TestRelease {
    const { model, version } = said;
    const digest = (algorithm: string) => createHash(algorithm).update(image).digest('hex');
    const hashes = { sha256: digest('sha256'), sha1: digest('sha1'), md5: digest('md5') };
    const custom: FirmwareManifest = {
      hardware: [],
      source_versions: '',
      security_counter: 0,
      installer: 'slots',
      steps: [],
      image_signatures: [],
      ...said,
    };
    const target = targetName({ model, version, fileName });
    const release: TestRelease = {
      id: `${model}@${version}`,
      target,
      image,
      content: { length: image.length, hashes, custom },
      role: roleOf(model),
      body: {
        model,
        version,
        sha256: hashes.sha256,
        size_bytes: image.length,
        file_name: fileName,
        path: `/firmware/sha256/${hashes.sha256}`,
        target,
      },
    };
    if (!this.releaseKeys.has(model)) this.releaseKeys.set(model, generateRoleKey());
    const same = this.#releases.findIndex((other) => other.target === target);
    this.#releases.splice(same < 0 ? this.#releases.length : same, 1, release);
    this.#metadata = undefined;
    return release;
  }

  /** Adds a root to the chain; what is not said stays. It is signed by `keys`, which are the root's as they stand. */
  rotateRoot(
    change: Partial<RootContent> = {},
    keys: readonly RoleKey[] = this.rootKeys,
  ): MetadataFile {
    const root = signRoot({ ...this.rootContent(this.#roots.length + 1), ...change }, keys);
    this.#roots.push(root);
    this.#metadata = undefined;
    return root;
  }

  /** Every file: the chain of roots, `targets`, one role a model. */
  metadata(): readonly MetadataFile[] {
    if (this.#metadata !== undefined) return this.#metadata;
    this.#version += 1;
    const version = this.#version;
    const models = [...this.releaseKeys.keys()];
    this.#metadata = [
      ...this.#roots,
      signTargets('targets', this.targetsContent(version), this.targetsKeys),
      ...models.map((model) =>
        signTargets(roleOf(model), this.modelContent(model, version), [this.#keyOf(model)]),
      ),
    ];
    return this.#metadata;
  }

  /** The metadata as a plan's documents, before they have a revision. */
  documents(): { kind: 'metadata'; id: string; body: MetadataFile }[] {
    return this.metadata().map((body) => ({ kind: 'metadata', id: metadataId(body), body }));
  }

  rootContent(version: number): RootContent {
    return {
      version,
      expiresAt: this.#expiresAt,
      root: holders(this.rootKeys),
      targets: holders(this.targetsKeys),
    };
  }

  targetsContent(version: number): TargetsContent {
    return {
      version,
      expiresAt: this.#expiresAt,
      targets: {},
      delegations: [...this.releaseKeys].map(([model, key]) => ({
        name: roleOf(model),
        paths: [`${model}/*/*`],
        terminating: true,
        ...holders([key]),
      })),
    };
  }

  modelContent(model: string, version: number): TargetsContent {
    const own = this.#releases.filter(({ content }) => content.custom.model === model);
    return {
      version,
      expiresAt: this.#expiresAt,
      targets: Object.fromEntries(own.map(({ target, content }) => [target, content])),
      delegations: [],
    };
  }

  #keyOf(model: string): RoleKey {
    const key = this.releaseKeys.get(model);
    if (key === undefined) throw new Error(`no release of ${model} was added`);
    return key;
  }
}

/** All of them must sign. */
const holders = (keys: readonly RoleKey[]) => ({
  keys: keys.map(({ publicKey }) => publicKey),
  threshold: keys.length,
});

const roleOf = (model: string): string =>
  `release-${model.toLowerCase().replace(/[^a-z0-9_-]/g, '-')}`;
