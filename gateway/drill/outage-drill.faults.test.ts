/**
 * The outage drill: a site without WAN for 60 days, its gateway and its devices over real TLS, its time a virtual one. Everything that
 * has a date has to go on by itself: certificates are renewed, devices come and go, the gateway forgets what time it is.
 */
import { fileURLToPath } from 'node:url';
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { openDrill } from './drill.js';
import type { DrillDevice } from './drill-device.js';

const hourMs = 3_600_000;
const plan = faultPlan();
const size = plan.isSlice
  ? { days: 16, devices: 8, reboots: 3 }
  : { days: 60, devices: 50, reboots: 10 };
const cloudBin = fileURLToPath(
  new URL('../../../cloud-sync/dist/testing/shifted-cloud.js', import.meta.url),
);
/** The spread around half of 7 days ends before; the hours in which the gateway was off count too. */
const latestRenewalMs = 0.6 * 7 * 24 * hourMs + 6 * hourMs;
t.setTimeout(1_800_000);

t.test(`an outage of ${size.days} days (${plan.description})`, async (t) => {
  t.comment('a fleet, a site, its gateway');
  const drill = await openDrill(t, {
    cloud: async (_, shiftMs) => ({ bin: cloudBin, env: { HOLDFAST_SHIFTED_MS: `${shiftMs}` } }),
  });
  const { time, wan, site, devices, enrol, inCloud } = drill;
  const { world } = time;
  for (let n = 1; n <= size.devices; n += 1) await enrol(`device-${n}`);
  const revoked: DrillDevice[] = [];
  const settled = () => drill.settled(revoked);
  await settled();

  t.comment('the WAN is cut, and the days pass');
  wan.cut();
  await drill.stopCloud();
  const isAt = (day: number, hour: number, fraction: number) =>
    hour === 0 && day === Math.floor(size.days * fraction);
  const late: string[] = [];
  let reboots = 0;
  const dropsExpected = () => reboots;
  for (let day = 0; day < size.days; day += 1) {
    for (let hour = 0; hour < 24; hour += 1) {
      const isReboot =
        hour === 5 &&
        reboots < size.reboots &&
        day >= ((reboots + 1) * size.days) / (size.reboots + 1);
      if (isReboot) {
        // Hours without power, and no battery that kept the time.
        await site.switchOff();
        world.advance((1 + (reboots % 5)) * hourMs);
        await site.switchOn({ isLost: true });
        reboots += 1;
        const { trusted } = await site.ask<{ trusted: boolean }>('GET', 'clock');
        t.equal(trusted, false, `the gateway does not know what time it is (reboot ${reboots})`);
        await settled();
      }
      // Somebody looks after it, but not each time.
      if (hour === 20 && reboots % 3 === 1) {
        const { trusted } = await site.ask<{ trusted: boolean }>('GET', 'clock');
        if (!trusted) await site.ask('POST', 'clock', { time: world.now() });
      }
      if (hour === 12 && revoked.length < 2 && day >= (size.days * (revoked.length + 1)) / 3) {
        const device = devices[revoked.length * 3];
        if (device === undefined) throw new Error('there are too few devices');
        revoked.push(device);
        await site.ask('POST', `devices/${device.id}/revocations`, { reason: 'key_compromise' });
        await waitUntil('the revoked device is cut', () => !device.isConnected);
      }
      if (isAt(day, hour, 0.25)) for (let n = 1; n <= 5; n += 1) await enrol(`late-${n}`);
      world.advance(hourMs);
      await time.schedule.run();
      await settled();
      for (const device of devices) {
        if (revoked.includes(device)) continue;
        if (device.certificateAgeMs > latestRenewalMs) late.push(`${device.id} on day ${day}`);
      }
    }
    for (const device of devices) if (!revoked.includes(device)) await device.measure();
  }
  t.equal(reboots, size.reboots);
  t.same(late, [], 'each was renewed around half of its life');
  const renewals = devices
    .filter((device) => !revoked.includes(device))
    .map(({ serials }) => serials.length - 1);
  t.comment(`${Math.min(...renewals)} to ${Math.max(...renewals)} renewals a device`);
  const fewest = Math.floor(((size.days * 0.75) / 7) * 1.5);
  t.ok(
    renewals.every((count) => count >= fewest && count <= size.days),
    'each device renewed again and again, and not all the time',
  );
  for (const device of devices.slice(0, size.devices)) {
    if (revoked.includes(device)) t.notOk(device.isConnected, `${device.id} stays outside`);
    else t.equal(device.drops, dropsExpected(), `${device.id} was cut by reboots alone`);
  }

  t.comment('the WAN is back');
  await drill.startCloud();
  wan.restore();
  interface Told {
    readonly seq: number;
    readonly kind: string;
    readonly body: string;
  }
  const onSite = await site.read<Told>(
    'site.db',
    'SELECT seq, kind, body FROM journal_audit ORDER BY seq',
  );
  const lastSeq = onSite.at(-1)?.seq ?? 0;
  const measured = devices.reduce((sum, device) => sum + device.measured, 0);
  const counted = async (sql: string) => (await inCloud<{ n: number }>(sql))[0]?.n ?? 0;
  await waitUntil(
    'the control plane has everything',
    async () =>
      (await counted("SELECT max(seq) AS n FROM journal WHERE lane = 'audit'")) >= lastSeq &&
      (await counted('SELECT count(*) AS n FROM telemetry')) >= measured,
    { deadlineMs: 120_000 },
  );
  const told = await inCloud<Told>(
    "SELECT seq, kind, body FROM journal WHERE lane = 'audit' ORDER BY log, seq",
  );
  t.same(
    told.map(({ seq }) => seq),
    told.map((_, index) => index + 1),
    'one log, and nothing is missing in it',
  );
  // What was acknowledged long ago, the site has pruned.
  const [oldest] = onSite;
  const since = told.filter(({ seq }) => seq >= (oldest?.seq ?? 0) && seq <= lastSeq);
  t.same(since, onSite, 'every event of the site');
  const serials = new Set(devices.flatMap((device) => device.serials));
  const bodies = told.map(({ body }) => body).join();
  t.same(
    [...serials].filter((serial) => !bodies.includes(serial)),
    [],
    'and every certificate',
  );
  t.comment(`${serials.size} certificates, ${told.length} events, ${measured} points`);
});
