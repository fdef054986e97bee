/**
 * The years of a site: its authority and its gateway's certificate for the link fall due against the real control plane, once while the
 * WAN is there, once while it is cut, and once they run out before it is back. Time is virtual here, and libfaketime's over there, since
 * the TLS of the link checks dates by the machine's clock.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { openGatewayRecord } from '../trust/gateway-identity.js';
import { openDrill } from './drill.js';
import type { DrillDevice } from './drill-device.js';

const dayMs = 86_400_000;
const bin = fileURLToPath(new URL('../../../cloud-sync/bin/holdfast-cloud.js', import.meta.url));
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** Devices have so many renewals in three years. */
const lifeOfDevicesDays = 60;
t.setTimeout(900_000);

interface Status {
  readonly link: { readonly state: string };
  readonly certificates: readonly { readonly name: string; readonly state: string }[];
}

t.test('three years of a site', async (t) => {
  const drill = await openDrill(t, {
    cloud: async (folder, shiftMs) => {
      const clock = join(folder, 'faketime');
      await writeFile(clock, `${shiftMs < 0 ? '-' : '+'}${Math.abs(shiftMs / 1_000)}\n`);
      return {
        bin,
        env: {
          LD_PRELOAD: '/usr/$LIB/faketime/libfaketimeMT.so.1',
          DONT_FAKE_MONOTONIC: '1',
          FAKETIME_TIMESTAMP_FILE: clock,
        },
      };
    },
    site: { certificates: { renewingS: (lifeOfDevicesDays * dayMs) / 1_000 } },
  });
  const { time, wan, site, devices, enrol, settled } = drill;
  const { world } = time;
  const startedAt = world.now();
  const day = () => Math.round((world.now() - startedAt) / dayMs);
  const certificates = async (): Promise<{ link: Certificate; siteCa: Certificate }> => {
    const { data } = await openGatewayRecord(drill.dataDir, silent);
    if (data === null) throw new Error('not enrolled');
    const { gateway_certificate: link, site_ca_certificate: siteCa } = data;
    return { link: parseCertificate(link), siteCa: parseCertificate(siteCa) };
  };
  const states = async () => {
    const status = await site.ask<Status>('GET', 'status');
    return status.certificates.map(({ name, state }) => `${name} ${state}`);
  };
  const isUp = async () => (await site.ask<Status>('GET', 'status')).link.state === 'up';
  const both = (state: string) => [`link ${state}`, `site_ca ${state}`];
  const pass = async (days: number, but: readonly DrillDevice[] = []): Promise<void> => {
    for (let passed = 0; passed < days; passed += 5) {
      world.advance(5 * dayMs);
      await time.schedule.run();
      await settled(but);
    }
  };
  /** The gateway meets its control plane, and they part again. */
  const meet = async (what: () => Promise<void>): Promise<void> => {
    await drill.startCloud();
    wan.restore();
    await waitUntil('the link is up', isUp);
    await what();
    wan.cut();
    await drill.stopCloud();
  };
  const first = await certificates();
  for (const id of ['pump', 'valve', 'fan']) await enrol(id);
  await settled();
  await waitUntil('the link is up', isUp);
  wan.cut();
  await drill.stopCloud();

  t.comment('a meeting now and then');
  await pass(150);
  await meet(async () => undefined);
  t.equal((await certificates()).siteCa.serial, first.siteCa.serial, 'nothing is due yet');
  let renewed = first;
  const isBehind = () =>
    renewed.siteCa.serial === first.siteCa.serial || renewed.link.serial === first.link.serial;
  // Each has a moment of its own.
  while (isBehind() && day() < 300) {
    await pass(20);
    await meet(async () => {
      await waitUntil('nothing is due', async () => !/due|alarm/.test((await states()).join()));
    });
    renewed = await certificates();
  }
  const left = (certificate: Certificate) => certificate.notAfter - world.now();
  t.ok(left(first.siteCa) > (365 / 3) * dayMs, `the site CA on day ${day()}`);
  t.ok(left(first.link) > (365 / 3) * dayMs, 'and the one for the link');
  t.ok(renewed.siteCa.publicKey.equals(first.siteCa.publicKey), 'the keys stay');
  t.same(
    devices.map(({ drops }) => drops),
    devices.map(() => 0),
    'no session ended',
  );
  await pass(10);
  await meet(async () => {
    t.pass('the control plane takes the new certificate on the next connection');
    const late = await enrol('late');
    await settled();
    t.ok(late.isConnected, 'who enrols now is under the renewed authority');
    await waitUntil('the control plane has heard of it', async () => {
      const sql = "SELECT 1 FROM devices WHERE device_id = 'late'";
      return (await drill.inCloud(sql)).length === 1;
    });
  });

  t.comment('the first ones run out, and then the WAN is away when the next fall due');
  await pass(first.siteCa.notAfter > world.now() ? left(first.siteCa) / dayMs + 10 : 10);
  t.ok(left(first.siteCa) < 0 && left(first.link) < 0);
  t.notMatch((await states()).join(), /expired/);
  await settled();
  t.same(
    devices.map(({ drops }) => drops),
    devices.map(() => 0),
    'nobody needs them any more',
  );
  while ((await states()).join() !== both('alarm').join() && day() < 600) await pass(5);
  t.same(await states(), both('alarm'), `told on day ${day()}`);
  await meet(async () => {
    await waitUntil('they are renewed', async () => !(await states()).join().includes('alarm'));
  });
  t.same(await states(), both('ok'));

  t.comment('the WAN is away until everything has run out');
  const last = await certificates();
  const lastDays = Math.ceil(Math.max(left(last.siteCa), left(last.link)) / dayMs);
  await pass(lastDays + 70);
  t.same(await states(), both('expired'), `on day ${day()}`);
  t.same(
    devices.map(({ drops }) => drops),
    devices.map(() => 0),
    'sessions stay',
  );
  await drill.startCloud();
  wan.restore();
  await waitUntil('the gateway renews over HTTPS, and is up', async () => {
    await time.schedule.run();
    return isUp();
  });
  t.same(await states(), both('ok'));
  const before = devices.map(({ serial }) => serial);
  world.advance(dayMs);
  await settled();
  await waitUntil('every device has renewed', () =>
    devices.every(({ serial }, index) => serial !== before[index]),
  );
  const afterwards = await enrol('afterwards');
  await settled();
  t.ok(afterwards.isConnected);
  t.same(
    devices.map(({ drops }) => drops),
    devices.map(() => 0),
    'and no session ended in all that time',
  );
});
