/** The settings of a gateway. */
import { serialDriverNames } from '@holdfast/devices/serial/serial-drivers';
import { passwordHash, role, userName } from '@holdfast/protos/local/people';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { shadowBytes } from '@holdfast/protos/semantics/shadow-document';
import type { TokenOptions } from '@holdfast/provisioning/pki/pkcs11';
import { nearestName } from '@holdfast/provisioning/program/nearest-name';
import {
  choice,
  configuration,
  flag,
  integer,
  list,
  optionalText,
  port,
  section,
  text,
  texts,
} from '@holdfast/provisioning/program/settings';
import { isTimeZone, longestMinutes, whyNoStart } from '@holdfast/provisioning/time/opening-times';
import * as v from 'valibot';
import { gpioSection } from './doors/gpio/gpio-configuration.js';
import { modbusSection } from './doors/modbus/modbus-configuration.js';
import { serialLine } from './doors/serial/serial-configuration.js';
import { usualUses, windowUses } from './updates/site-windows.js';

const deviceId = v.pipe(
  v.string(),
  v.check(isDeviceId, 'must be a device id: 1 to 64 of [A-Za-z0-9_-]'),
);

const maintenanceWindow = v.strictObject({
  /** What it is called in status and reasons: `nights`. */
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  /** When it opens, in the words of cron: `0 22 * * *`. */
  start: v.pipe(
    v.string(),
    v.maxLength(128),
    v.check(
      (start) => whyNoStart(start) === undefined,
      ({ input }) => whyNoStart(String(input)) ?? '',
    ),
  ),
  /** How long it is open. */
  minutes: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(longestMinutes)),
  /** What may begin in it. */
  for: v.optional(
    v.pipe(
      v.array(v.picklist(windowUses, `must be one of ${windowUses.join(', ')}`)),
      v.minLength(1, 'must name something, or be left out'),
    ),
    [...usualUses],
  ),
  /** With neither groups, models nor devices it is for all of them. */
  groups: v.optional(v.array(v.string()), []),
  models: v.optional(v.array(v.string()), []),
  devices: v.optional(v.array(deviceId), []),
});

const service = v.strictObject({
  user: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  /** As `holdfast-gateway hash-password` prints it. */
  passwordHash,
  /** Topic filters; one that begins with `!` is an exception to the others. */
  publish: v.optional(v.array(v.string()), []),
  subscribe: v.optional(v.array(v.string()), []),
});

const person = v.strictObject({
  user: userName,
  role,
  /** As `holdfast-gateway hash-password` prints it. */
  passwordHash,
});

export const gatewayConfiguration = configuration({
  listen: section('Where it listens. A port of 0 picks a free one.', {
    host: text({ default: '0.0.0.0', description: 'Address of the ports for devices and people' }),
    mqttsPort: port({ default: 8883, description: 'MQTT for devices (mutual TLS)' }),
    httpsPort: port({ default: 8443, description: 'HTTPS for devices: enrolment, firmware' }),
    consolePort: port({ default: 8444, description: 'HTTPS for people: the local API' }),
  }),
  services: section(
    'MQTT for services of this machine, on 127.0.0.1 without TLS. Off as long as no user is named.',
    {
      port: port({ default: 1883, description: 'Port of the listener' }),
      users: list(service, {
        description:
          'user, passwordHash, and the topic filters to publish and subscribe to; one that begins with ! is an exception to the others',
      }),
    },
  ),
  mqtt: section(
    'Bounds of MQTT clients. What a client of MQTT 5 is given instead of what it asked for, it is told.',
    {
      maxSessionExpiryMs: integer({
        default: 0,
        min: 0,
        max: 4_294_967_294_000,
        unit: 'ms',
        description:
          'A session whose client is away for longer is over, whatever the client asked for. 0: as the client asks; one of MQTT 3.1.1 asks for ever',
      }),
      maxKeepaliveMs: integer({
        default: 0,
        min: 0,
        max: 65_535_000,
        unit: 'ms',
        description:
          'MQTT 5 clients are told to be heard at least so often (rounded up to a second). 0: as the client asks',
      }),
    },
  ),
  people: section(
    'People who may sign in at this gateway, beside those of the plan and those made here. Where a name stands in several, the plan counts.',
    {
      users: list(person, {
        description: 'user, role (viewer, technician or installer) and passwordHash of each',
      }),
      sessionIdleMs: integer({
        default: 3_600_000,
        min: 60_000,
        max: 86_400_000,
        unit: 'ms',
        description: 'A session that is not used for so long is over',
      }),
      sessionLifetimeMs: integer({
        default: 43_200_000,
        min: 60_000,
        max: 604_800_000,
        unit: 'ms',
        description: 'A session is over after so long, used or not',
      }),
    },
  ),
  names: section('How the gateway is reached on site.', {
    hosts: texts({
      default: [],
      description:
        'Host names and addresses beside those of the machine, in its server certificate; the first also stands in codes',
    }),
  }),
  serial: section('Devices on serial lines.', {
    lines: list(serialLine, {
      description: `device, path or usb (the USB id, as \`2341:0043:SERIAL\`), baudRate (115200), dataBits (8), parity (none), stopBits (1), driver (${serialDriverNames.join(', ')}, or the file of one as \`./drivers/scale.js\`), its options, and flash (how the gateway flashes the device) of each line. Where several devices share a line: devices (device, settings) and name`,
    }),
  }),
  modbus: modbusSection,
  gpio: gpioSection,
  site: section('Where the gateway stands.', {
    timeZone: text({
      default: '',
      description:
        'Time zone of the windows, as `Europe/Berlin`; empty: that of the machine. Where clocks are put forward, a window that would open in between opens at the step; where they are put back, one that would open twice opens the first time',
      check: (zone) => (zone === '' || isTimeZone(zone) ? undefined : noTimeZone(zone)),
    }),
  }),
  windows: section(
    'When updates may begin. What is under way goes on, and whatever no window is named for may begin at any time.',
    {
      times: list(maintenanceWindow, {
        description:
          'name, start (in the words of cron, in `site.timeZone`), minutes, for (`download`: a device is offered its update, `install`: it installs it and restarts; both by default; `fetch`: the gateway fetches firmware over the WAN), and the groups, models or devices it is for (all by default)',
      }),
      whenTimeUnknown: choice(['closed', 'open'], {
        default: 'closed',
        description: 'What the windows count as while nobody knows what time it is',
      }),
    },
  ),
  ddi: section(
    "hawkBit's device interface on the port for devices, for SWUpdate and RAUC's updater.",
    {
      tenants: texts({
        default: ['default'],
        description: 'The tenants that stand in the addresses of such devices; all mean this site',
      }),
      pollS: integer({
        default: 300,
        min: 1,
        max: 86_399,
        unit: 's',
        description: 'How long a device sleeps between two questions',
      }),
      waitingPollS: integer({
        default: 30,
        min: 1,
        max: 86_399,
        unit: 's',
        description: 'The same while something is under way for it, or waits for it',
      }),
      gatewayTokenFile: optionalText({
        description:
          'File with one line, a token of at least 16 characters that speaks for every device (`GatewayToken`); by default there is none',
      }),
    },
  ),
  shadows: section('The shadows of devices, what changed in them, and what two wrote at once.', {
    maxDocumentBytes: integer({
      default: shadowBytes.default,
      min: 1_024,
      max: shadowBytes.most,
      unit: 'bytes',
      description:
        'What is desired and reported in one shadow together, without metadata. To be set alike at the control plane',
    }),
    historyBytes: integer({
      default: 268_435_456,
      min: 1_048_576,
      unit: 'bytes',
      description:
        'Room for the history; beyond it the oldest goes, first what devices reported, and is counted',
    }),
    historyDays: integer({
      default: 30,
      min: 1,
      max: 3_650,
      unit: 'days',
      description: 'How long the history is kept',
    }),
    maxConflicts: integer({
      default: 10_000,
      min: 100,
      max: 1_000_000,
      description:
        'Conflicts that are kept, settled ones among them; beyond it the oldest go, the settled first, and open ones are counted',
    }),
    conflictDays: integer({
      default: 90,
      min: 1,
      max: 3_650,
      unit: 'days',
      description: 'How long conflicts are kept, once they are settled or if nobody settles them',
    }),
  }),
  telemetry: section('Telemetry that waits for the control plane.', {
    budgetBytes: integer({
      default: 1_073_741_824,
      min: 1_048_576,
      unit: 'bytes',
      description: 'Beyond it the oldest points are dropped, and the drop is told',
    }),
  }),
  time: section('What time it is. The clock of the machine is never set.', {
    ntp: choice(['authenticated', 'any', 'never'], {
      default: 'authenticated',
      description:
        'Whose NTP is believed: `authenticated` (NTS or keys, by chrony), `any` (where the way to the server is trusted), or none',
    }),
    serveNtp: flag({
      default: false,
      description:
        'Answer SNTP and NTP requests of devices; while the time is not known it says so',
    }),
    ntpPort: port({
      default: 123,
      description: 'UDP port of NTP; below 1024 it takes a privilege',
    }),
  }),
  certificates: section(
    'How long the certificates of devices live, where the policy of the fleet says nothing else.',
    {
      renewingS: integer({
        default: 604_800,
        min: 5,
        max: 31_536_000,
        unit: 's',
        description: 'Those of devices that renew by themselves, which they do at half of it',
      }),
      otherS: integer({
        default: 31_536_000,
        min: 5,
        max: 315_360_000,
        unit: 's',
        description: 'Those of the others',
      }),
      supersededAfterS: integer({
        default: 86_400,
        min: 0,
        max: 31_536_000,
        unit: 's',
        description:
          'How long after a device first used its new certificate the old one still holds',
      }),
    },
  ),
  firmware: section('The firmware cache.', {
    quotaBytes: integer({
      default: 4_294_967_296,
      min: 1_048_576,
      unit: 'bytes',
      description:
        'All images together; what a running campaign needs or somebody pinned is never evicted',
    }),
    wanBytesPerS: integer({
      default: 0,
      min: 0,
      unit: 'bytes/s',
      description:
        'What firmware may take of the WAN; the policy of the fleet and a campaign may allow less. 0: all of it',
    }),
    maxDownloads: integer({
      default: 128,
      min: 1,
      max: 1_000,
      description:
        'Devices that load firmware at once; more are told to come again in a moment. Each takes 512 KiB of memory where it is slow',
    }),
    makeDeltas: flag({
      default: false,
      description:
        'Whether the gateway makes deltas between images that it holds where the plan has none: for devices behind slow radio. It takes minutes of a core and ten times the memory of an image, at a low priority',
    }),
  }),
  pkcs11: section(
    'The key of the site CA in a hardware token; by default it lies in the data folder. To be set before the enrolment.',
    {
      module: text({
        default: '',
        description: 'PKCS#11 library of the token, as /usr/lib/softhsm/libsofthsm2.so',
      }),
      token: text({ default: '', description: 'Label of the token' }),
      pinFile: text({ default: '', description: "File with the PIN of the token's user" }),
      key: text({ default: 'holdfast-site-ca', description: 'Label of the key, which is made' }),
    },
  ),
  retention: section(
    'What is removed when it is over for so long, and the control plane has heard of it.',
    {
      commandDays: integer({
        default: 90,
        min: 1,
        max: 36_500,
        unit: 'days',
        description: 'Commands and their responses',
      }),
      campaignDays: integer({
        default: 365,
        min: 1,
        max: 36_500,
        unit: 'days',
        description:
          'Campaigns that the plan names no more, and what became of each device in them',
      }),
    },
  ),
  link: section('The link to the control plane.', {
    proxy: optionalText({
      description:
        'An HTTP proxy that allows CONNECT, for the link and downloads: `http://HOST:PORT`',
    }),
    proxyCredentialsFile: optionalText({
      description: 'File that holds `user:password` for the proxy',
    }),
    firstRetryMs: integer({
      default: 1_000,
      min: 10,
      max: 60_000,
      unit: 'ms',
      description: 'Upper bound of the first wait before it is tried again',
    }),
    mostRetryMs: integer({
      default: 60_000,
      min: 10,
      max: 3_600_000,
      unit: 'ms',
      description: 'Upper bound of every wait before it is tried again',
    }),
  }),
});

const noTimeZone = (zone: string): string => {
  const near = nearestName(zone, Intl.supportedValuesOf('timeZone'));
  return `must be a time zone as Europe/Berlin${near === undefined ? '' : ` (do you mean ${near}?)`}`;
};

export type GatewayConfiguration = v.InferOutput<typeof gatewayConfiguration>;

/** Where the site CA's key is in hardware; undefined where it is in a file. */
export const tokenOf = ({ pkcs11 }: GatewayConfiguration): TokenOptions | undefined =>
  pkcs11.module === '' ? undefined : pkcs11;
