/** For tests: an image as imgtool makes it, with a protected entry, a digest and, given a key, an Ed25519 signature over the digest. */
import { createHash, type KeyObject, sign } from 'node:crypto';

export interface TestMcubootImage {
  /** `1.2.3`, or `1.2.3+4`. */
  readonly version: string;
  readonly bodyBytes?: number;
  readonly body?: Buffer;
  readonly key?: KeyObject;
}

const headerBytes = 512;

export const buildMcubootImage = ({
  version,
  bodyBytes = 6_000,
  body = patternOf(version, bodyBytes),
  key,
}: TestMcubootImage): Buffer => {
  const header = Buffer.alloc(headerBytes, 0xff);
  const securityCounter = Buffer.alloc(4);
  const guarded = trailer(0x6908, [[0x50, securityCounter]]);
  const [major = 0, minor = 0, revision = 0, build = 0] = version.split(/[.+]/).map(Number);
  header.writeUInt32LE(0x96f3b83d, 0);
  header.writeUInt32LE(0, 4);
  header.writeUInt16LE(headerBytes, 8);
  header.writeUInt16LE(guarded.length, 10);
  header.writeUInt32LE(body.length, 12);
  header.writeUInt32LE(0, 16);
  header.writeUInt8(major, 20);
  header.writeUInt8(minor, 21);
  header.writeUInt16LE(revision, 22);
  header.writeUInt32LE(build, 24);
  header.writeUInt32LE(0, 28);
  const hashed = Buffer.concat([header, body, guarded]);
  const hash = createHash('sha256').update(hashed).digest();
  const entries: [number, Buffer][] = [[0x10, hash]];
  if (key !== undefined) entries.push([0x24, sign(null, hash, key)]);
  return Buffer.concat([hashed, trailer(0x6907, entries)]);
};

/** No two blocks alike, and no two versions. */
const patternOf = (version: string, bytes: number): Buffer => {
  const blocks = Array.from({ length: Math.ceil(bytes / 32) }, (_, index) =>
    createHash('sha256')
      .update(`${version} ${String(index)}`)
      .digest(),
  );
  return Buffer.concat(blocks).subarray(0, bytes);
};

const trailer = (magic: number, entries: readonly (readonly [number, Buffer])[]): Buffer => {
  const parts = entries.map(([type, value]) => {
    const info = Buffer.alloc(4);
    info.writeUInt16LE(type, 0);
    info.writeUInt16LE(value.length, 2);
    return Buffer.concat([info, value]);
  });
  const content = Buffer.concat(parts);
  const info = Buffer.alloc(4);
  info.writeUInt16LE(magic, 0);
  info.writeUInt16LE(content.length + 4, 2);
  return Buffer.concat([info, content]);
};
