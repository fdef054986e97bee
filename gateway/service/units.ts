/**
 * The systemd unit of a gateway: a user of its own, no new privileges, a read-only system, and of the devices of the machine serial lines
 * and GPIO chips alone. Those are let in by their kind, so that a site file that names another line needs no other unit.
 */
import type { GatewayConfiguration } from '../configuration.js';

export interface UnitOptions {
  readonly configuration: GatewayConfiguration;
  /** What starts the program: Node and the script, or the one of the package. */
  readonly command: readonly string[];
  /** Must lie below /var/lib for systemd to make it and hand it over. */
  readonly dataDir: string;
  readonly user: string;
}

export const serviceName = 'holdfast-gateway.service';

export const gatewayUnit = (options: UnitOptions): string => {
  const { configuration, command, dataDir, user } = options;
  // What is of another kind is named.
  const others = [...configuration.serial.lines, ...configuration.modbus.buses]
    .flatMap(({ path }) => path ?? [])
    .filter((path) => !/^\/dev\/(tty(USB|ACM|AMA|S)\d|serial\/)/.test(path));
  const state = stateDirectory(dataDir);
  return `${[
    '# Made by "holdfast-gateway install-service"; what is to be other goes into a drop-in: systemctl edit holdfast-gateway',
    '[Unit]',
    'Description=Holdfast gateway',
    'Documentation=man:systemd.service(5)',
    'After=network.target time-sync.target',
    // Before its enrolment there is nothing to serve; enroll starts it.
    `ConditionPathExists=${dataDir}/identity.json`,
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=notify',
    // systemd-notify is a process of its own.
    'NotifyAccess=all',
    `ExecStart=${[...command, '--data', dataDir].map(quoted).join(' ')}`,
    'ExecReload=/bin/kill -HUP $MAINPID',
    'Restart=always',
    'RestartSec=2',
    // What is wrong with the configuration no restart mends.
    'RestartPreventExitStatus=78',
    'TimeoutStartSec=120',
    'TimeoutStopSec=20',
    'WatchdogSec=90',
    '',
    `User=${user}`,
    `Group=${user}`,
    ...(state === undefined
      ? [`ReadWritePaths=${dataDir}`]
      : [`StateDirectory=${state}`, 'StateDirectoryMode=0700']),
    'UMask=0077',
    'LimitNOFILE=65536',
    '',
    'NoNewPrivileges=yes',
    'ProtectSystem=strict',
    'ProtectHome=yes',
    'PrivateTmp=yes',
    'DevicePolicy=closed',
    ...[...new Set([...deviceKinds, ...others])].map((device) => `DeviceAllow=${device} rw`),
    'ProtectProc=invisible',
    'ProtectClock=yes',
    'ProtectHostname=yes',
    'ProtectKernelLogs=yes',
    'ProtectKernelModules=yes',
    'ProtectKernelTunables=yes',
    'ProtectControlGroups=yes',
    'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK',
    'RestrictNamespaces=yes',
    'RestrictRealtime=yes',
    'RestrictSUIDSGID=yes',
    'RemoveIPC=yes',
    'LockPersonality=yes',
    // V8 compiles at run time, so MemoryDenyWriteExecute cannot be set.
    'SystemCallArchitectures=native',
    'SystemCallFilter=@system-service',
    'SystemCallFilter=~@privileged @resources',
    'SystemCallErrorNumber=EPERM',
    capabilities(configuration),
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ].join('\n')}\n`;
};

/** By the names in /proc/devices (systemd.resource-control(5), "DeviceAllow"). */
const deviceKinds = ['char-ttyUSB', 'char-ttyACM', 'char-ttyAMA', 'char-ttyS', 'char-gpiochip'];

/** The name below /var/lib; undefined elsewhere. */
const stateDirectory = (dataDir: string): string | undefined =>
  dataDir.startsWith('/var/lib/') ? dataDir.slice('/var/lib/'.length) : undefined;

const capabilities = ({ listen, services }: GatewayConfiguration): string => {
  const ports = [listen.mqttsPort, listen.httpsPort, listen.consolePort, services.port];
  const isLow = ports.some((port) => port > 0 && port < 1_024);
  return isLow
    ? 'CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE'
    : 'CapabilityBoundingSet=\nAmbientCapabilities=';
};

/** As in systemd.service(5), "Command lines": a word with a space stands in quotes, and a percent sign twice. */
const quoted = (word: string): string => {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(escaped) ? `"${escaped.replaceAll(/["\\]/g, '\\$&')}"` : escaped;
};
