/** Version 2 of AWS IoT's SDK, unmodified, against a gateway: its shadow clients over MQTT 5. */
import t from 'tap';
import { missingSdks } from './test-sdk-device.js';
import { tryShadows } from './test-sdk-shadows.js';
import { openSdkSite } from './test-sdk-site.js';

t.test(
  'AWS IoT’s SDK and the shadows of a gateway, over MQTT 5',
  { skip: missingSdks() },
  async (t) => {
    const site = await openSdkSite(t);
    tryShadows(t, site, { title: 'IotShadowClientv2', kind: 'v2-requests', protocol: 5 });
    tryShadows(t, site, { title: 'IotShadowClient', kind: 'v2-topics', protocol: 5 });
  },
);
