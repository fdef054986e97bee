/** What the local API says of the site as a whole (`GET /api/v1/status`). */
import type { TrustedClock } from '@holdfast/provisioning/time/trusted-clock';
import { serialLineRow } from '../doors/serial/serial-line-row.js';
import type { SerialLines } from '../doors/serial/serial-lines.js';
import type { Link } from '../link/link.js';
import type { GatewayRecord } from '../trust/gateway-identity.js';
import type { CertificateState } from '../trust/gateway-renewal.js';
import type { Trust } from '../trust/open-trust.js';
import type { SiteWindows } from '../updates/site-windows.js';
import type { Updates } from '../updates/updates.js';

/** A GPIO line as the local API shows it. */
export interface GpioLineStatus {
  readonly name: string;
  readonly role: string;
  /** Why it does not work; null while it does. */
  readonly problem: string | null;
  /** What it is, where it is something. */
  readonly state?: string;
}

export interface SiteStatusSources {
  readonly version: string;
  readonly record: Pick<GatewayRecord, 'fleet' | 'site' | 'gateway_id' | 'epoch'>;
  readonly clock: Pick<TrustedClock, 'status'>;
  readonly link: Pick<Link, 'status'>;
  readonly devices: { count(): { readonly total: number; readonly online: number } };
  readonly firmware: { readonly bytes: number; readonly problem: string | undefined };
  readonly serialLines: Pick<SerialLines, 'list'>;
  readonly trust: Pick<Trust, 'revocations' | 'revocationAge' | 'crl'>;
  readonly certificates: { states(): readonly CertificateState[] };
  readonly gpioLines: () => readonly GpioLineStatus[];
  readonly windows: Pick<SiteWindows, 'states' | 'zone' | 'isTimeMissing'>;
  readonly updates: Pick<Updates, 'controls'>;
  readonly telemetry: { status(): { readonly droppedPoints: number } };
}

export const siteStatus = (sources: SiteStatusSources): object => {
  const { record, version, firmware } = sources;
  const link = sources.link.status();
  const { now, trusted, source, doubt } = sources.clock.status();
  return {
    fleet: record.fleet,
    site: record.site,
    gateway_id: record.gateway_id,
    epoch: record.epoch,
    version,
    clock: { now, trusted, source, doubt },
    link: {
      state: link.fenced === null ? (link.connected ? 'up' : 'down') : 'fenced',
      since: link.since,
      last_contact: link.lastContact ?? sources.trust.revocationAge.heardEarlier,
      reason: link.fenced?.message ?? link.refusal?.message ?? link.reason,
      backlog: link.backlog,
    },
    plan: {
      state: link.plan?.state ?? 'none',
      generation: link.plan?.generation ?? 0,
      revision: link.plan?.revision ?? 0,
      expires_at: link.plan?.expiresAt ?? null,
    },
    devices: sources.devices.count(),
    revocations: revocationsView(sources.trust),
    certificates: sources.certificates.states().map(({ name, expiresAt, state }) => ({
      name,
      expires_at: expiresAt,
      state,
    })),
    firmware: { bytes: firmware.bytes, problem: firmware.problem ?? null },
    serial_lines: sources.serialLines.list().map(serialLineRow),
    emergency_stops: sources.updates.controls.emergencyStops(),
    windows: windowsView(sources.windows),
    gpio_lines: sources.gpioLines(),
    telemetry: { dropped_points: sources.telemetry.status().droppedPoints },
  };
};

const revocationsView = ({ revocations, revocationAge, crl }: SiteStatusSources['trust']) => {
  const { asOf, ageMs, mostMs, isStale, stops } = revocationAge.status();
  return {
    revoked: revocations.count,
    as_of: asOf,
    age_ms: ageMs,
    most_age_ms: mostMs,
    stale: isStale,
    stops_when_stale: stops,
    crl_number: crl.current.number,
    crl_signed_at: crl.current.thisUpdate,
    crl_next_update: crl.current.nextUpdate,
  };
};

const windowsView = (windows: SiteStatusSources['windows']): object => ({
  time_zone: windows.zone,
  /** Then they count as the site wants it, and nobody knows when one opens. */
  time_unknown: windows.isTimeMissing,
  times: windows.states().map(({ isOpen, opensAt, closesAt, ...window }) => ({
    ...window,
    open: isOpen,
    opens_at: opensAt,
    closes_at: closesAt,
  })),
});
