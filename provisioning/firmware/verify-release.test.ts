import t from 'tap';
import { referenceTo } from '../documents/plan.js';
import type { HeadOfMetadata } from './plan-mandate.js';
import { TestReleases } from './test-releases.js';
import { releaseVerifier, verifyMetadata, verifyRelease } from './verify-release.js';
import { signTargets } from './write-metadata.js';

const image = Buffer.from('image');
const now = Date.UTC(2030, 0, 1);

const headOf = (
  releases: TestReleases,
  head: Partial<Omit<HeadOfMetadata, 'documents'>> = {},
): HeadOfMetadata => ({
  issued_at: now,
  expires_at: now + 1000,
  grace: 500,
  ...head,
  documents: releases.documents().map((document) => referenceTo({ ...document, revision: 1 })),
});

t.test('takes a release that its roles have signed', async (t) => {
  const releases = new TestReleases();
  releases.add({ model: 'valve', version: '1.0', image });
  const { target, body } = releases.add({ model: 'pump', version: '2.0', image });
  const files = releases.metadata();
  const head = headOf(releases);
  const verdict = verifyRelease(releases.trusted, files, target, now, {
    head,
    image: { model: 'pump', version: '2.0', sha256: body.sha256, sizeBytes: body.size_bytes },
    device: { model: 'pump', hardware: null, version: '1.0', securityCounter: 0 },
  });
  t.match(verdict, {
    ok: true,
    release: { target, sizeBytes: 5, sha256: body.sha256, signedBy: 'release-pump' },
    trusted: { versions: { root: 1, targets: 1, 'release-pump': 1 } },
  });
  t.match(verifyMetadata(null, files, now, { head }), {
    ok: true,
    trusted: { versions: { root: 1, targets: 1, 'release-pump': 1, 'release-valve': 1 } },
  });
});

t.test('says of a device for which a release is not what does not fit', async (t) => {
  const releases = new TestReleases();
  const { target } = releases.add({
    model: 'pump',
    version: '2.0',
    image,
    hardware: ['b', 'c'],
    source_versions: '>=1.5 <3',
    security_counter: 4,
  });
  const files = releases.metadata();
  const fitting = { model: 'pump', hardware: 'b', version: '1.9', securityCounter: 4 };
  for (const [change, code] of [
    [{ model: 'valve' }, 'FIRMWARE_WRONG_MODEL'],
    [{ model: null }, 'FIRMWARE_WRONG_MODEL'],
    [{ hardware: 'a' }, 'FIRMWARE_WRONG_HARDWARE'],
    [{ hardware: null }, 'FIRMWARE_WRONG_HARDWARE'],
    [{ securityCounter: 5 }, 'FIRMWARE_COUNTER_TOO_LOW'],
    [{ version: '1.4' }, 'FIRMWARE_SOURCE_VERSION'],
    [{ version: null }, 'FIRMWARE_SOURCE_VERSION'],
    [{ version: '2.1' }, 'FIRMWARE_ROLLBACK'],
    [{ version: '2.1', allowsOlder: true }, undefined],
    [{ version: '2.1', allowsOlder: true, securityCounter: 5 }, 'FIRMWARE_COUNTER_TOO_LOW'],
    [{}, undefined],
  ] as const) {
    const device = { ...fitting, ...change };
    const verdict = verifyRelease(releases.trusted, files, target, now, { head: null, device });
    t.equal(verdict.ok ? undefined : verdict.code, code, JSON.stringify(change));
  }
});

t.test('a role that has expired keeps nothing from the others', async (t) => {
  const releases = new TestReleases();
  const valve = releases.add({ model: 'valve', version: '1.0', image });
  const pump = releases.add({ model: 'pump', version: '2.0', image });
  const key = releases.releaseKeys.get('valve');
  if (key === undefined) throw new Error('no key');
  const files = releases.metadata().map((file) => {
    if (file.role !== 'release-valve') return file;
    return signTargets(file.role, { ...releases.modelContent('valve', 1), expiresAt: now }, [key]);
  });
  t.match(verifyMetadata(null, files, now, { head: null }), {
    ok: true,
    trusted: { versions: { 'release-pump': 1, 'release-valve': 1 } },
  });
  const verify = releaseVerifier(null, files, now, { head: null });
  t.match(verify(valve.target, {}), { code: 'FIRMWARE_METADATA_EXPIRED' });
  t.match(verify(pump.target, {}), { ok: true });
  t.match(verify(valve.target, {}), { code: 'FIRMWARE_METADATA_EXPIRED' }, 'also when asked again');
});
