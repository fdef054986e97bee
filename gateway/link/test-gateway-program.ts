/**
 * A gateway's link as a program of its own, for tests that kill it. It writes telemetry and state as fast as they are committed, and
 * prints what was, line by line, after the commit.
 */
import { readFile } from 'node:fs/promises';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { openTestGateway } from './test-gateway.js';

interface Settings {
  readonly dir: string;
  readonly address: string;
  readonly fleet: string;
  readonly site: string;
  readonly rootPem: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly boot: string;
}

const file = process.argv[2];
if (file === undefined) throw new Error('usage: test-gateway-program SETTINGS');
const settings = JSON.parse(await readFile(file, 'utf8')) as Settings;
const gateway = await openTestGateway({
  ...settings,
  root: parseCertificate(settings.rootPem),
  firstRetryMs: 1,
  mostRetryMs: 20,
});
gateway.link.open();

const { boot } = settings;
const telemetry = async (): Promise<void> => {
  for (let seq = 1; ; seq += 1) {
    await gateway.telemetry.record([{ device: 'd', series: 's', ts: seq, value: seq, boot, seq }]);
    process.stdout.write(`point ${boot}/${seq}\n`);
  }
};
const state = async (): Promise<void> => {
  for (let count = 1; ; count += 1) {
    await gateway.settle(`${boot}/${count}`);
    process.stdout.write(`state ${boot}/${count}\n`);
  }
};
await Promise.all([telemetry(), state()]);
