/** Agents as programs at a gateway whose certificates live for seconds; for tests of their rotation. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { type Child, runChild, startChild } from '@holdfast/provisioning/program/children';
import { openSiteUnderTest, type SiteUnderTest } from './site-under-test.js';

const bin = fileURLToPath(new URL('../../../devices/bin/holdfast-device.js', import.meta.url));

export interface RotatingAgent {
  readonly device: string;
  /** What it has logged, as JSON lines. */
  readonly log: readonly string[];
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Serial number of the certificate that it has on its disk. */
  serial(): Promise<string>;
}

export interface RotatingSite {
  readonly site: SiteUnderTest;
  readonly agents: readonly RotatingAgent[];
  /** How many times the certificate of a device was renewed. */
  renewals(device: string): Promise<number>;
  /** When the newest certificate of a device was issued; epoch ms. */
  lastIssuedAt(device: string): Promise<number>;
  /** Every point that the gateway has committed of a device, by boot: its sequence numbers, ascending. */
  points(device: string): Promise<Map<string, number[]>>;
  close(): Promise<void>;
}

export const openRotatingSite = async (
  devices: readonly string[],
  { lifetimeS }: { readonly lifetimeS: number },
): Promise<RotatingSite> => {
  const site = await openSiteUnderTest({
    HOLDFAST_CERTIFICATES__RENEWING_S: String(lifetimeS),
    HOLDFAST_CERTIFICATES__SUPERSEDED_AFTER_S: '1',
  });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-agents-'));
  const closers: (() => Promise<unknown>)[] = [];
  const agents: RotatingAgent[] = [];
  for (const device of devices) {
    const { body } = await site.ask('POST', '/api/v1/claims', { device_id: device });
    const data = ['--data', join(folder, device)];
    const enrolled = await runChild({
      bin,
      args: [
        ...['enroll', String(body.code), '--gateway', `127.0.0.1:${site.port('https')}`],
        ...data,
      ],
      timeoutMs: 60_000,
    });
    if (enrolled.code !== 0) throw new Error(enrolled.stderr);
    const log: string[] = [];
    let child: Child | undefined;
    const agent: RotatingAgent = {
      device,
      log,
      start: async () => {
        child = await startChild({
          bin,
          args: ['run', ...data, '--health.interval-s=1', '--log-level=info'],
          timeoutMs: 60_000,
          onLogLine: (line) => void log.push(line),
        });
      },
      kill: async () => {
        await child?.kill();
      },
      serial: async () => {
        const record = await readFile(join(folder, device, 'identity.json'), 'utf8');
        const { certificate } = JSON.parse(record) as { certificate: string };
        return parseCertificate(certificate).serial;
      },
    };
    closers.push(() => child?.stop() ?? Promise.resolve());
    agents.push(agent);
  }
  return {
    site,
    agents,
    renewals: async (device) => {
      const rows = await site.read<{ count: number }>(
        `SELECT count(*) AS count FROM device_certificates WHERE device_id = ? AND replaces IS NOT NULL`,
        [device],
      );
      return rows[0]?.count ?? 0;
    },
    lastIssuedAt: async (device) => {
      const rows = await site.read<{ at: number }>(
        'SELECT max(issued_at) AS at FROM device_certificates WHERE device_id = ?',
        [device],
      );
      return rows[0]?.at ?? 0;
    },
    points: async (device) => {
      const rows = await site.read<{ body: string }>(
        `SELECT body FROM journal_telemetry WHERE kind = 'point'`,
        [],
        'telemetry.db',
      );
      const boots = new Map<string, number[]>();
      for (const { body } of rows) {
        const point = JSON.parse(body) as { device: string; boot: string; seq: number };
        if (point.device !== device) continue;
        const seqs = boots.get(point.boot) ?? [];
        boots.set(point.boot, seqs);
        seqs.push(point.seq);
      }
      for (const [boot, seqs] of boots) {
        boots.set(
          boot,
          [...new Set(seqs)].sort((a, b) => a - b),
        );
      }
      return boots;
    },
    close: async () => {
      await Promise.all(closers.map((close) => close()));
      await site.close();
      await rm(folder, { recursive: true });
    },
  };
};
