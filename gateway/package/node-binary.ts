/** Node itself, with its headers, from the npm registry; kept from one build to the next, and checked each time. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Architecture, nodeVersion } from './architecture.js';

/** Gives the folder that holds `bin/node` and `include/node`. */
export const fetchNode = ({ nodePackage, nodeIntegrity }: Architecture, cache: string): string => {
  mkdirSync(cache, { recursive: true });
  const name = `${nodePackage}-${nodeVersion}`;
  const tarball = join(cache, `${name}.tgz`);
  if (!existsSync(tarball)) {
    execFileSync(
      'npm',
      ['pack', '--silent', '--pack-destination', cache, `${nodePackage}@${nodeVersion}`],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    );
  }
  const integrity = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
  if (integrity !== nodeIntegrity) {
    rmSync(tarball);
    throw new Error(`${name}: its digest is ${integrity}, which is not the one that is expected`);
  }
  const folder = join(cache, name);
  if (!existsSync(folder)) {
    mkdirSync(`${folder}.tmp`, { recursive: true });
    execFileSync('tar', [
      '-xzf',
      tarball,
      '-C',
      `${folder}.tmp`,
      '--strip-components=1',
      'package/bin',
      'package/include',
      'package/LICENSE',
    ]);
    renameSync(`${folder}.tmp`, folder);
  }
  return folder;
};
