/** The roles of one set of metadata, each verified when it is asked for, from the trusted root down. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Metadata, Targets } from '@tufjs/models';
import { expiresAt, type MetadataFile, metadataId, readTargets } from './metadata-file.js';
import { checkSignatures, type SigningRole } from './role-signatures.js';
import { followRoots, roleOfRoot } from './root-chain.js';
import {
  type RoleMetadata,
  type SeenRole,
  type TrustedState,
  textSha256,
} from './trusted-state.js';

export interface TrustedRolesOptions {
  /** Epoch ms; null while the clock is not trusted. */
  readonly now: number | null;
  readonly expiredGraceMs: number;
}

/** More roles than this are followed for no release. */
const mostRoles = 32;

export class TrustedRoles {
  readonly #options: TrustedRolesOptions;
  readonly #before: TrustedState | null;
  readonly #files: ReadonlyMap<string, MetadataFile>;
  readonly #open = new Map<string, { metadata: Metadata<Targets>; seen: SeenRole }>();
  readonly #root: { readonly version: number; readonly text: string };
  readonly #targetsRole: SigningRole;

  /** Follows the roots. Errors: those of `followRoots`, FIRMWARE_METADATA_EXPIRED, FIRMWARE_MIX_AND_MATCH. */
  constructor(
    trusted: TrustedState | null,
    metadata: readonly MetadataFile[],
    options: TrustedRolesOptions,
  ) {
    this.#options = options;
    this.#before = trusted;
    const { file, metadata: root } = followRoots(trusted, metadata);
    this.#checkExpiry(root, metadataId(file));
    this.#root = { version: file.version, text: file.signed };
    this.#targetsRole = roleOfRoot(root, 'targets');
    const files = new Map<string, MetadataFile>();
    for (const each of metadata) {
      if (each.role === 'root') continue;
      if (files.has(each.role)) {
        throw new HoldfastError(
          'FIRMWARE_MIX_AND_MATCH',
          `There are two files of the role ${each.role}`,
        );
      }
      files.set(each.role, each);
    }
    this.#files = files;
  }

  /** Names of the roles but root that were opened. */
  get opened(): string[] {
    return [...this.#open.keys()];
  }

  /** What to keep: what was trusted before, with what was opened here. */
  get trusted(): TrustedState {
    const versions: Record<string, number> = {
      ...this.#before?.versions,
      root: this.#root.version,
    };
    const seen: Record<string, SeenRole> = { ...this.#before?.seen };
    for (const [name, role] of this.#open) {
      versions[name] = role.metadata.signed.version;
      seen[name] = role.seen;
    }
    return { root: this.#root.text, versions, seen };
  }

  /**
   * The metadata of the role `targets`. Errors: FIRMWARE_METADATA_MISSING, FIRMWARE_METADATA_INVALID, FIRMWARE_METADATA_EXPIRED,
   * FIRMWARE_DATA_ENDLESS, FIRMWARE_SIGNATURE_INVALID, FIRMWARE_THRESHOLD_NOT_MET, FIRMWARE_ROLLBACK, FIRMWARE_MIX_AND_MATCH.
   */
  targets(): Metadata<Targets> {
    return this.#current(this.#targetsRole);
  }

  /** The metadata of a role that another one delegates to. Errors: as `targets`. */
  delegated(by: Metadata<Targets>, name: string): Metadata<Targets> {
    return this.#current(delegatedSigners(by, name));
  }

  /**
   * Opens every role that there is a file of and a delegation to. One that has expired keeps nothing from the others: whoever asks for it
   * by itself is refused. Errors: as `targets`.
   */
  openAll(): void {
    const waiting = [this.targets()];
    for (let by = waiting.pop(); by !== undefined; by = waiting.pop()) {
      for (const { name } of Object.values(by.signed.delegations?.roles ?? {})) {
        if (!this.#files.has(name) || this.#open.has(name)) continue;
        waiting.push(this.#role(delegatedSigners(by, name)));
      }
    }
  }

  #current(role: SigningRole): Metadata<Targets> {
    const metadata = this.#role(role);
    this.#checkExpiry(metadata, role.name);
    return metadata;
  }

  #role(role: SigningRole): Metadata<Targets> {
    const { name } = role;
    const known = this.#open.get(name);
    if (known !== undefined) {
      // Two roles may delegate to one name, each with keys of its own.
      checkSignatures(known.metadata, role, name);
      return known.metadata;
    }
    if (this.#open.size >= mostRoles) {
      throw new HoldfastError('FIRMWARE_DATA_ENDLESS', `There are more than ${mostRoles} roles`);
    }
    const file = this.#files.get(name);
    if (file === undefined) {
      throw new HoldfastError('FIRMWARE_METADATA_MISSING', `The metadata ${name} is not there`);
    }
    const metadata = readTargets(file);
    checkSignatures(metadata, role, name);
    const seen = { sha256: textSha256(file.signed), keys: role.keyIds };
    this.#checkOrder(file, seen);
    this.#open.set(name, { metadata, seen });
    return metadata;
  }

  /**
   * Once none of the keys is left that could sign before, nothing old can come back, and the versions begin anew: otherwise a thief of
   * keys could lock the fleet out for ever with a file of the highest version (TUF 5.3.11).
   */
  #checkOrder({ role, version }: MetadataFile, { sha256, keys }: SeenRole): void {
    const known = this.#before?.seen[role];
    const trusted = this.#before?.versions[role];
    if (known === undefined || trusted === undefined) return;
    if (!known.keys.some((key) => keys.includes(key))) return;
    if (version < trusted) {
      throw new HoldfastError(
        'FIRMWARE_ROLLBACK',
        `The metadata ${role} is version ${version}, and version ${trusted} is trusted already`,
      );
    }
    if (version > trusted || sha256 === known.sha256) return;
    throw new HoldfastError(
      'FIRMWARE_MIX_AND_MATCH',
      `This version ${version} of the metadata ${role} is another one than the one that is trusted`,
    );
  }

  #checkExpiry(metadata: RoleMetadata, what: string): void {
    const { now, expiredGraceMs } = this.#options;
    if (now === null || now < expiresAt(metadata) + expiredGraceMs) return;
    throw new HoldfastError(
      'FIRMWARE_METADATA_EXPIRED',
      `The metadata ${what} has expired: ${metadata.signed.expires}`,
    );
  }
}

/** Who signs a role that this one delegates to. */
export const delegatedSigners = ({ signed }: Metadata<Targets>, name: string): SigningRole => {
  const role = signed.delegations?.roles?.[name];
  return {
    name,
    keyIds: role?.keyIDs ?? [],
    threshold: role?.threshold ?? Number.POSITIVE_INFINITY,
    keys: signed.delegations?.keys ?? {},
  };
};
