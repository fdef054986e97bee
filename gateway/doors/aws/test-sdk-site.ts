/** A gateway and devices on AWS IoT's SDKs, with a network between them that can be cut. */
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { WanProxy } from '@holdfast/provisioning/quickstart/wan-proxy';
import type { Test } from 'tap';
import { openSiteUnderTest, type SiteUnderTest } from '../../trust/site-under-test.js';
import { type SdkDevice, type SdkDeviceOptions, startSdkDevice } from './test-sdk-device.js';

export interface SdkSite {
  /** Starts a device and connects it; a thing is enrolled once. */
  open(
    t: Test,
    thing: string,
    options: Pick<SdkDeviceOptions, 'kind'> & Partial<SdkDeviceOptions>,
  ): Promise<SdkDevice>;
  /** What a person at the site wants of it. */
  desire(thing: string, desired: object): Promise<void>;
  network(t: Test): Promise<WanProxy>;
  /** Cuts the network, and resolves when device and gateway have noticed. */
  cut(network: WanProxy, thing: string, device: SdkDevice): Promise<void>;
}

export const openSdkSite = async (t: Test): Promise<SdkSite> => {
  const site = await openSiteUnderTest();
  t.teardown(() => site.close());
  const enrolled = new Map<string, ReturnType<SiteUnderTest['enrol']>>();
  const ca = site.fleet.root.certificate.pem;
  const port = (): number => site.port('mqtts');
  return {
    async open(t, thing, options) {
      const credentials = enrolled.get(thing) ?? site.enrol(thing);
      enrolled.set(thing, credentials);
      const { cert, key } = await credentials;
      const device = startSdkDevice(t, { thing, cert, key, ca, port: port(), ...options });
      await device.connect();
      return device;
    },
    async desire(thing, desired) {
      const path = `/api/v1/devices/${thing}/shadows/-`;
      const { status, body } = await site.ask('PATCH', path, { state: { desired } });
      if (status !== 200) throw new Error(JSON.stringify(body));
    },
    async network(t) {
      const target = () => ({ host: '127.0.0.1', port: port() });
      const network = await WanProxy.open({ target, port: 0 });
      t.teardown(() => network.close());
      return network;
    },
    async cut(network, thing, device) {
      network.set('cut');
      await device.next('interrupted');
      const isOnline = async (): Promise<boolean> =>
        (await site.ask('GET', `/api/v1/devices/${thing}`)).body.online === true;
      await waitUntil('the gateway to notice', async () => !(await isOnline()), {
        deadlineMs: 30_000,
        everyMs: 20,
      });
    },
  };
};
