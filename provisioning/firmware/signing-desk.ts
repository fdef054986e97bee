/**
 * Where metadata is changed and signed: a folder of keys and a folder of metadata. Each change makes a new version of the file it is in,
 * signed with every key of its role that is held here; whoever holds the others adds theirs (`addSignatures`).
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { KeyFolder, NamedKey } from './key-folder.js';
import { type MetadataFile, metadataId, readRoot, readTargets } from './metadata-file.js';
import type { MetadataFolder } from './metadata-folder.js';
import { rootContentOf, targetsContentOf } from './read-contents.js';
import { type RoleKey, roleKeyId } from './role-key.js';
import { goodSignatures, type SigningRole } from './role-signatures.js';
import { roleOfRoot } from './root-chain.js';
import { delegatedSigners } from './trusted-roles.js';
import {
  addSignature,
  type RootContent,
  signRoot,
  signTargets,
  type TargetsContent,
} from './write-metadata.js';

export interface SigningDeskDependencies {
  readonly keys: KeyFolder;
  readonly metadata: MetadataFolder;
  /** Asked for when a key has to be opened. */
  readonly passphrase: (keyName: string) => Promise<string>;
}

/** A file that was written. */
export interface SignedFile {
  readonly file: MetadataFile;
  /** Signatures that have to be added before anybody believes it. */
  readonly missing: number;
}

export class SigningDesk {
  readonly #deps: SigningDeskDependencies;
  readonly #opened = new Map<string, RoleKey>();
  #files: MetadataFile[] = [];
  #keys: NamedKey[] = [];

  private constructor(deps: SigningDeskDependencies) {
    this.#deps = deps;
  }

  /** Reads both folders. Errors: FIRMWARE_METADATA_INVALID, KEY_INVALID. */
  static async open(deps: SigningDeskDependencies): Promise<SigningDesk> {
    const desk = new SigningDesk(deps);
    await desk.readAgain();
    return desk;
  }

  get files(): readonly MetadataFile[] {
    return this.#files;
  }

  get keys(): readonly NamedKey[] {
    return this.#keys;
  }

  async readAgain(): Promise<void> {
    this.#files = await this.#deps.metadata.read();
    this.#keys = await this.#deps.keys.list();
  }

  /** Errors: FIRMWARE_METADATA_MISSING. */
  get root(): RootContent {
    return rootContentOf(this.file('root'));
  }

  /** Of `targets` or a delegated role. Errors: FIRMWARE_METADATA_MISSING. */
  targets(role = 'targets'): TargetsContent {
    return targetsContentOf(this.file(role));
  }

  /** The newest file of a role. Errors: FIRMWARE_METADATA_MISSING. */
  file(role: string): MetadataFile {
    const file = this.#files.filter((each) => each.role === role).at(-1);
    if (file !== undefined) return file;
    const isFirst = this.#files.length === 0;
    throw new HoldfastError(
      'FIRMWARE_METADATA_MISSING',
      `there is no metadata of ${role} in ${this.#deps.metadata.path}`,
      { data: { next: `holdfast firmware ${isFirst ? 'keys init' : `keys delegate ${role}`}` } },
    );
  }

  /** A key by its name in the folder. Errors: RESOURCE_NOT_FOUND. */
  key(name: string): NamedKey {
    const key = this.#keys.find((each) => each.name === name);
    if (key !== undefined) return key;
    throw new HoldfastError(
      'RESOURCE_NOT_FOUND',
      `there is no key ${name} in ${this.#deps.keys.path}`,
      { data: { next: `holdfast firmware keys create ${name}` } },
    );
  }

  /**
   * Makes the next root, or changes the newest as long as it has not enough signatures to be believed. Errors: FIRMWARE_METADATA_INVALID,
   * KEY_INVALID.
   */
  async changeRoot(change: (content: RootContent) => RootContent): Promise<SignedFile> {
    const newest = this.file('root');
    const isDraft = this.missing(newest) > 0;
    const version = isDraft ? newest.version : newest.version + 1;
    return this.writeRoot({ ...change(rootContentOf(newest)), version });
  }

  async writeRoot(content: RootContent): Promise<SignedFile> {
    const before = this.#files.find(
      ({ role, version }) => role === 'root' && version === content.version - 1,
    );
    const signers = new Set(content.root.keys.map(roleKeyId));
    if (before !== undefined) {
      for (const key of rootContentOf(before).root.keys) signers.add(roleKeyId(key));
    }
    return this.#write(signRoot(content, await this.#held([...signers])));
  }

  /** Makes the next version of `targets` or a delegated role. Errors: FIRMWARE_METADATA_INVALID, KEY_INVALID. */
  async changeTargets(
    role: string,
    change: (content: TargetsContent) => TargetsContent,
  ): Promise<SignedFile> {
    const content = targetsContentOf(this.file(role));
    return this.writeTargets(role, { ...change(content), version: content.version + 1 });
  }

  async writeTargets(role: string, content: TargetsContent): Promise<SignedFile> {
    return this.#write(signTargets(role, content, await this.#held(this.#signers(role).keyIds)));
  }

  /** Adds the signatures of the keys that are held here. Errors: FIRMWARE_METADATA_MISSING, NOT_AUTHORISED when none of them is. */
  async addSignatures(role: string): Promise<SignedFile> {
    const file = this.file(role);
    const wanted = this.#signerSets(file).flatMap(({ keyIds }) => keyIds);
    const keys = await this.#held(wanted);
    if (keys.length === 0) {
      throw new HoldfastError(
        'NOT_AUTHORISED',
        `no key of ${role} is held in ${this.#deps.keys.path}`,
        { data: { next: 'holdfast firmware keys list shows whose keys it takes' } },
      );
    }
    return this.#write(keys.reduce(addSignature, file));
  }

  /** How many signatures a file lacks. */
  missing(file: MetadataFile): number {
    const metadata = file.role === 'root' ? readRoot(file) : readTargets(file);
    return Math.max(
      ...this.#signerSets(file).map(
        (role) => role.threshold - goodSignatures(metadata, role, metadataId(file)).length,
      ),
      0,
    );
  }

  /** Ids of the keys that may sign a role, for a root also those of the one before it. */
  signersOf(role: string): string[] {
    return this.#signerSets(this.file(role)).flatMap(({ keyIds }) => keyIds);
  }

  /** Roles that may sign a release of this name, in the order in which they are asked; `targets` may sign every one. */
  rolesFor(target: string): string[] {
    const { delegations } = readTargets(this.file('targets')).signed;
    return [...[...(delegations?.rolesForTarget(target) ?? [])].map(({ role }) => role), 'targets'];
  }

  /** The name of a key here, or the beginning of its id. */
  nameOf(keyId: string): string {
    const named = this.#keys.find((key) => key.roleKeyId === keyId);
    return named?.name ?? `${keyId.slice(0, 12)}…`;
  }

  isHeld(keyId: string): boolean {
    return this.#keys.some((key) => key.roleKeyId === keyId && key.isHeld);
  }

  /** Who must sign a file: for a root those of the root before it, and its own. */
  #signerSets(file: MetadataFile): SigningRole[] {
    if (file.role !== 'root') return [this.#signers(file.role)];
    const before = this.#files.find(
      ({ role, version }) => role === 'root' && version === file.version - 1,
    );
    return [before, file].flatMap((root) =>
      root === undefined ? [] : [roleOfRoot(readRoot(root), 'root')],
    );
  }

  #signers(role: string): SigningRole {
    if (role === 'targets') return roleOfRoot(readRoot(this.file('root')), 'targets');
    return delegatedSigners(readTargets(this.file('targets')), role);
  }

  async #held(keyIds: readonly string[]): Promise<RoleKey[]> {
    const held: RoleKey[] = [];
    for (const { name, roleKeyId, isHeld } of this.#keys) {
      if (!isHeld || roleKeyId === undefined || !keyIds.includes(roleKeyId)) continue;
      const key =
        this.#opened.get(roleKeyId) ??
        (await this.#deps.keys.openRoleKey(name, await this.#deps.passphrase(name)));
      this.#opened.set(roleKeyId, key);
      held.push(key);
    }
    return held;
  }

  async #write(file: MetadataFile): Promise<SignedFile> {
    await this.#deps.metadata.write(file);
    const id = metadataId(file);
    this.#files = [...this.#files.filter((each) => metadataId(each) !== id), file].sort(
      (a, b) => a.version - b.version,
    );
    return { file, missing: this.missing(file) };
  }
}
