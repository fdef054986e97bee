/** `holdfast status`: the fleet at a glance, or, with --gateway, the site. */
import type { Command } from 'commander';
import { wallTime } from '../../time/wall-time.js';
import type { CommandContext } from '../context.js';
import type { GatewayStatus } from '../gateway-client.js';
import { ago } from '../terminal.js';
import { stopLines } from './campaign/at-site.js';
import { lineText } from './serial/line-text.js';
import { listSites, showSites } from './sites.js';

export const addStatusCommand = (program: Command, context: () => CommandContext): void => {
  program
    .command('status')
    .description('the fleet at a glance, or, with --gateway, the site')
    .action(async () => {
      const { terminal, cloud, gateway, asksGateway, now } = context();
      if (!asksGateway) {
        showSites(terminal, await listSites(await cloud()), now());
        return;
      }
      const status = await (await gateway()).status();
      const lastContact = status.link.last_contact;
      terminal.fields(status, [
        ['site', status.site],
        ['version', status.version],
        ['link', status.link.state],
        ['last contact', ago(lastContact === null ? undefined : new Date(lastContact), now())],
        ['plan', `${status.plan.revision} (${status.plan.state})`],
        ['devices', `${status.devices.online} of ${status.devices.total} online`],
        ['revocations', revocationsOf(status, now())],
        ...stopLines(status.emergency_stops, now()),
        ...windowsOf(status),
        ...status.gpio_lines.map(
          ({ name, role, problem, state = 'works' }) =>
            [`gpio ${name}`, `${role} ${problem ?? state}`] as const,
        ),
        ...status.serial_lines.map((line) => [`line ${line.name}`, lineText(line)] as const),
      ]);
    });
};

/** How many, and since when nobody has said what was revoked elsewhere. */
const revocationsOf = ({ revocations }: GatewayStatus, now: number): string | undefined => {
  if (revocations === undefined) return undefined;
  const { revoked, as_of, stale, stops_when_stale: stops } = revocations;
  const known = as_of === null ? 'no plan yet' : `as of ${ago(new Date(as_of), now)}`;
  const without = stops.length === 0 ? '' : `, so without ${stops.join(', ')}`;
  return `${revoked}, ${known}${stale ? ` (stale${without})` : ''}`;
};

/** A line for each maintenance window: until when it is open, or when it opens. */
export const windowsOf = ({
  windows,
}: Pick<GatewayStatus, 'windows'>): (readonly [title: string, text: string])[] =>
  (windows?.times ?? []).map((window) => {
    const zone = windows?.time_zone ?? 'UTC';
    const what = `(${window.for.join(', ')})`;
    return [`window ${window.name}`, `${whenOf(window, zone, windows?.time_unknown)} ${what}`];
  });

type WindowTime = NonNullable<GatewayStatus['windows']>['times'][number];

const whenOf = (
  { open, opens_at, closes_at }: WindowTime,
  zone: string,
  isTimeUnknown = false,
): string => {
  if (isTimeUnknown) {
    return `counts as ${open ? 'open' : 'closed'}: the time is not known (holdfast --gateway clock)`;
  }
  if (opens_at === null || closes_at === null) return 'never opens';
  return open
    ? `open until ${wallTime(closes_at, zone)} (${zone})`
    : `opens at ${wallTime(opens_at, zone)} (${zone})`;
};
