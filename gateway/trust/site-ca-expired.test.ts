/** Fault 10: the site CA has expired. Its alarm is in gateway-renewal.test.ts, the refused enrolment in decide-enrolment.test.ts. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { issueDevice, issueSiteCa } from '@holdfast/provisioning/pki/issue';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { connectDevice, openSite } from '../broker/broker-fixture.js';
import { identifyDevice } from './identify-device.js';

t.test(
  'sessions stay when the site CA has expired, and come back when it is renewed',
  async (t) => {
    const clock = new ManualClock(Date.now());
    const fleet = await createTestFleet({ now: clock.now() });
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-expired-'));
    const refused: string[] = [];
    const siteCas = [fleet.siteCa.certificate];
    const identify = identifyDevice({
      root: fleet.root.certificate,
      siteCas: () => siteCas,
      site: fleet.site,
      isRevoked: () => false,
      refusal: () => undefined,
      clock,
    });
    const site = await openSite(
      t,
      {
        clock,
        identify: (socket) => {
          const identity = identify(socket);
          if (identity.kind === 'refused') refused.push(identity.reason);
          return identity;
        },
      },
      { folder, fleet },
    );
    const client = await connectDevice(t, site, 'pump-1');
    clock.advance(366 * 86_400_000);
    await client.publishAsync('dt/pump-1/telemetry/flow', '1', { qos: 1 });
    t.equal(site.handled.length, 1, 'the session goes on');
    t.same(site.broker.connectedDevices(), ['pump-1']);
    const key = await createKey();
    const { pem } = await issueDevice(fleet.siteCa, key.publicKey, {
      device: 'pump-2',
      now: clock.now(),
    });
    const newcomer = { cert: pem, key: privatePem(key) };
    await t.rejects(connectDevice(t, site, 'pump-2', newcomer));
    t.match(refused, [/an authority in its chain has expired/], 'nobody new is let in by it');
    siteCas.push(
      await issueSiteCa(fleet.root, fleet.siteCa.key.publicKey, {
        site: fleet.site,
        now: clock.now(),
      }),
    );
    await connectDevice(t, site, 'pump-2', newcomer);
    t.equal(site.broker.connectedDevices().length, 2);
  },
);
