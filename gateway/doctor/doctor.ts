/**
 * `doctor`: looks at the machine, the network and the gateway's own files with one configuration in mind, before enrolment and after.
 * Every check stands alone: one that breaks is a finding of its own and keeps no other from being told.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseAddress, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { machineTime } from '@holdfast/provisioning/time/machine-time';
import { connectThrough, readProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import { type GatewayConfiguration, tokenOf } from '../configuration.js';
import { serialBuses } from '../doors/modbus/modbus-configuration.js';
import { namedLines } from '../doors/serial/serial-configuration.js';
import { readRunning } from '../site-file/running-record.js';
import { type GatewayRecord, openGatewayRecord } from '../trust/gateway-identity.js';
import { checkCertificates } from './certificates.js';
import { checkClock, dateFrom } from './clock.js';
import { checkControlPlane, type Service } from './control-plane.js';
import { checkDisk } from './disk.js';
import { checkDns, systemDns } from './dns.js';
import { type Finding, findingsOf } from './finding.js';
import { checkGpioChips } from './gpio-chips.js';
import { checkListenPorts, systemPorts } from './listen-ports.js';
import { checkProxy } from './proxy.js';
import { checkSerialPorts, systemSerial } from './serial-ports.js';
import { findUser } from './service-user.js';
import { checkSiteCaKey } from './site-ca-key.js';
import { type Endpoint, openDirectly } from './tcp.js';

export interface DoctorOptions {
  readonly configuration: GatewayConfiguration;
  readonly dataDir: string;
  /** A gateway's code, before it is used: it knows address and root. */
  readonly code?: string | undefined;
  /** Whose rights to devices count when root asks: the user of the service. */
  readonly serviceUser?: string | undefined;
  readonly environmentProxy?: string | undefined;
  /** What is known to lie in the past, epoch ms. */
  readonly builtMs: number;
}

type Check = () => Promise<readonly Finding[]>;

/** In the order in which one thing rests on another. */
export const examine = async (
  { log }: { readonly log: StoreLog },
  options: DoctorOptions,
): Promise<Finding[]> => {
  const { configuration, dataDir } = options;
  const record = await readRecord(dataDir, log);
  const far = farEnd(record, options.code);
  const proxy = await readProxy(configuration.link).catch((error: unknown) => messageOf(error));
  const via = typeof proxy === 'string' ? undefined : proxy;
  const { services, root } = far;
  const openTcp =
    via === undefined
      ? openDirectly
      : (to: Endpoint, signal: AbortSignal) => connectThrough(via, to, signal);
  const https = services.find(({ name }) => name === 'https');
  const checks: readonly (readonly [string, Check])[] = [
    ['enrolment', async () => [enrolment(record, dataDir)]],
    [
      'dns',
      () => checkDns(systemDns, via === undefined ? services.map(({ host }) => host) : [via.host]),
    ],
    [
      'proxy and 443',
      async () =>
        typeof proxy === 'string'
          ? [findingsOf('proxy and 443').failure(proxy, 'mend it in the site file')]
          : checkProxy({}, { proxy, services, environmentProxy: options.environmentProxy }),
    ],
    ['control plane', () => checkControlPlane({ openTcp }, { services, root })],
    [
      'clock',
      () =>
        checkClock(
          {
            time: machineTime(),
            askControlPlane: async () =>
              https === undefined || root === undefined
                ? undefined
                : dateFrom(
                    `https://${https.host}:${https.port}/`,
                    verifiedAgent({ role: 'control-plane', root, at: 'unchecked' }, { via }),
                  ),
          },
          { floorMs: Math.max(options.builtMs, enrolledAt(record)) },
        ),
    ],
    [
      'disk',
      () =>
        checkDisk({
          folder: dataDir,
          quotaBytes: configuration.telemetry.budgetBytes + configuration.firmware.quotaBytes,
        }),
    ],
    ...(await machineChecks({ log }, options)),
    [
      'certificates',
      async () =>
        record === undefined
          ? []
          : checkCertificates({
              dataDir,
              record,
              now: Date.now(),
              tokenKey: tokenOf(configuration)?.key,
            }),
    ],
    [
      'site CA key',
      async () =>
        record === undefined
          ? []
          : checkSiteCaKey(
              { dataDirectory: dataDir, token: tokenOf(configuration) },
              parseCertificate(record.site_ca_certificate),
            ),
    ],
  ];
  return runAll(checks);
};

/** What of the machine a configuration needs: the part that `site plan` shows too. */
export const examineMachine = async (
  deps: { readonly log: StoreLog },
  options: Pick<DoctorOptions, 'configuration' | 'dataDir' | 'serviceUser'>,
): Promise<Finding[]> => runAll(await machineChecks(deps, options));

const machineChecks = async (
  { log }: { readonly log: StoreLog },
  {
    configuration: { listen, services, serial, modbus, gpio },
    dataDir,
    serviceUser,
  }: Pick<DoctorOptions, 'configuration' | 'dataDir' | 'serviceUser'>,
): Promise<(readonly [string, Check])[]> => {
  const running = await readRunning({ log }, dataDir).catch(() => undefined);
  const user = serviceUser === undefined ? undefined : await findUser(serviceUser);
  const gatewayPid = running?.pid;
  const wanted = [
    ...(['mqttsPort', 'httpsPort', 'consolePort'] as const).map((name) => ({
      setting: `listen.${name}`,
      host: listen.host,
      port: listen[name],
    })),
    ...(services.users.length > 0
      ? [{ setting: 'services.port', host: '127.0.0.1', port: services.port }]
      : []),
  ];
  return [
    ['ports', () => checkListenPorts(systemPorts, { wanted, gatewayPid })],
    [
      'serial',
      () =>
        checkSerialPorts(systemSerial, {
          lines: [...namedLines(serial.lines), ...serialBuses(modbus.buses)],
          user,
          gatewayPid,
        }),
    ],
    ['gpio', () => checkGpioChips({ lines: gpio.lines, user })],
  ];
};

const runAll = async (checks: readonly (readonly [string, Check])[]): Promise<Finding[]> => {
  const found = await Promise.all(
    checks.map(([name, check]) =>
      check().catch((error: unknown) => [
        findingsOf(name).warning(
          `could not be looked at: ${messageOf(error)}`,
          'look at it by hand, and report this',
        ),
      ]),
    ),
  );
  return found.flat();
};

const enrolment = (record: GatewayRecord | undefined, dataDir: string): Finding => {
  const { ok, warning } = findingsOf('enrolment');
  return record === undefined
    ? warning(
        `${dataDir} holds no gateway yet`,
        'get a code with "holdfast gateway code SITE" on the control plane\'s side, then: holdfast gateway enroll CODE',
      )
    : ok(`this is gateway ${record.gateway_id} of site ${record.site}, epoch ${record.epoch}`);
};

/** undefined before the enrolment, and where another user's folder may not be read. */
const readRecord = async (dataDir: string, log: StoreLog): Promise<GatewayRecord | undefined> => {
  if (!existsSync(join(dataDir, 'identity.json'))) return undefined;
  return (await openGatewayRecord(dataDir, log)).data ?? undefined;
};

const enrolledAt = (record: GatewayRecord | undefined): number =>
  record === undefined ? 0 : parseCertificate(record.gateway_certificate).notBefore;

/** Where the control plane is, and by what it is known. */
const farEnd = (
  record: GatewayRecord | undefined,
  code: string | undefined,
): {
  readonly services: readonly Service[];
  readonly root: Parameters<typeof checkControlPlane>[1]['root'];
} => {
  const claim = code === undefined ? undefined : parseClaimCode(code, 'gateway');
  const admin =
    claim?.address === undefined ? [] : [{ name: 'admin', ...parseAddress(claim.address) }];
  if (record === undefined) return { services: admin, root: claim?.rootSha256 };
  const https = new URL(record.https_address);
  return {
    services: [
      { name: 'link', ...parseAddress(record.link_address) },
      { name: 'https', host: https.hostname, port: Number(https.port || 443) },
      ...admin,
    ],
    root: parseCertificate(record.root_certificate),
  };
};
