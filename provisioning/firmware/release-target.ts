/** Finds a release: in `targets`, then in the roles that may sign its name, in their order (TUF 5.6.7). */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Metadata, TargetFile, Targets } from '@tufjs/models';
import * as v from 'valibot';
import {
  type FirmwareRelease,
  firmwareManifest,
  parseTargetName,
  targetHashes,
} from './manifest.js';
import type { TrustedRoles } from './trusted-roles.js';

/** Errors: FIRMWARE_TARGET_UNKNOWN, FIRMWARE_METADATA_INVALID, those of `TrustedRoles`. */
export const findRelease = (roles: TrustedRoles, target: string): FirmwareRelease => {
  const visited = new Set<string>();
  const search = (name: string, metadata: Metadata<Targets>): FirmwareRelease | 'end' | 'on' => {
    visited.add(name);
    const { targets, delegations } = metadata.signed;
    const found = Object.hasOwn(targets, target) ? targets[target] : undefined;
    if (found !== undefined) return releaseOf(target, found, name);
    for (const { role, terminating } of delegations?.rolesForTarget(target) ?? []) {
      if (visited.has(role)) continue;
      const result = search(role, roles.delegated(metadata, role));
      if (result !== 'on') return result;
      if (terminating) return 'end';
    }
    return 'on';
  };
  const result = search('targets', roles.targets());
  if (typeof result === 'object') return result;
  throw new HoldfastError(
    'FIRMWARE_TARGET_UNKNOWN',
    `Nobody who may sign ${target.slice(0, 200)} has signed it`,
  );
};

/** Errors: FIRMWARE_METADATA_INVALID. */
export const releaseOf = (target: string, file: TargetFile, signedBy: string): FirmwareRelease => {
  const invalid = (why: string) =>
    new HoldfastError('FIRMWARE_METADATA_INVALID', `The release ${target.slice(0, 200)}: ${why}`);
  const parts = parseTargetName(target);
  if (parts === undefined) throw invalid('it is not named {model}/{version}/{file}');
  const hashes = v.safeParse(targetHashes, file.hashes);
  if (!hashes.success) throw invalid(`its hashes are not SHA-256, SHA-1 and MD5`);
  const custom = v.safeParse(firmwareManifest, file.custom);
  if (!custom.success) {
    const [issue] = custom.issues;
    throw invalid(`its manifest: ${v.getDotPath(issue) ?? 'it'}: ${issue.message}`);
  }
  const manifest = custom.output;
  if (manifest.model !== parts.model || manifest.version !== parts.version) {
    throw invalid(`its manifest is of ${manifest.model} ${manifest.version}`);
  }
  if (!Number.isSafeInteger(file.length) || file.length < 1) throw invalid('its length is none');
  return { target, manifest, sizeBytes: file.length, ...hashes.output, signedBy };
};
