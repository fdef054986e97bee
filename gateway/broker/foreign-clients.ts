/** How clients that nobody here wrote are told of a device's certificate, or of a service's password. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Site } from './broker-fixture.js';

/** Files of a device's certificate, as foreign clients take them. */
export async function filesOf(site: Site, device: string) {
  const { tls } = await site.fleet.device(device);
  const files = {
    ca: join(site.folder, 'ca.pem'),
    cert: join(site.folder, `${device}.pem`),
    key: join(site.folder, `${device}.key`),
  };
  await writeFile(files.ca, site.fleet.root.certificate.pem);
  await writeFile(files.cert, tls.cert);
  await writeFile(files.key, tls.key);
  return files;
}

export async function mosquittoArguments(site: Site, device: string): Promise<string[]> {
  const { ca, cert, key } = await filesOf(site, device);
  const port = `${site.broker.ports.mqtts ?? 0}`;
  return [
    '-h',
    '127.0.0.1',
    '-p',
    port,
    '-i',
    device,
    '--cafile',
    ca,
    '--cert',
    cert,
    '--key',
    key,
  ];
}

export const mosquittoService = (site: Site): string[] => [
  ...['-h', '127.0.0.1', '-p', `${site.broker.ports.services ?? 0}`],
  ...['-u', 'meter', '-P', 'secret'],
];
