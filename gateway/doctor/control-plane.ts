/**
 * Whether the control plane can be reached, and is what answers: a port that is closed, a captive portal and a proxy that opens TLS are
 * three things, and each has another remedy.
 */
import { request } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { peerChain, verifyPresented } from '@holdfast/provisioning/pki/tls-peer';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { type Finding, findingsOf } from './finding.js';
import type { OpenTcp } from './tcp.js';

export interface ControlPlaneDependencies {
  /** Opens a TCP connection, through the proxy where there is one. */
  readonly openTcp: OpenTcp;
}

export interface Service {
  /** `link`, `admin`, `https`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface ControlPlaneOptions {
  readonly services: readonly Service[];
  /** The fleet's root, or its SHA-256 as a code has it; without one nobody can say who answers. */
  readonly root: Certificate | string | undefined;
}

const { ok, failure, skipped } = findingsOf('control plane');
const limitMs = 8_000;

export const checkControlPlane = async (
  deps: ControlPlaneDependencies,
  { services, root }: ControlPlaneOptions,
): Promise<Finding[]> => {
  if (services.length === 0) {
    return [skipped('no address yet: give the code with --code CODE, or enrol first')];
  }
  return Promise.all(services.map((service) => checkService(deps, service, root)));
};

const checkService = async (
  { openTcp }: ControlPlaneDependencies,
  { name, host, port }: Service,
  root: ControlPlaneOptions['root'],
): Promise<Finding> => {
  const where = `${name} ${host}:${port}`;
  const began = performance.now();
  let socket: TLSSocket | undefined;
  try {
    const tcp = await withDeadline((signal) => openTcp({ host, port }, signal), limitMs);
    const tcpMs = Math.round(performance.now() - began);
    socket = await withDeadline(handshake(tcp, host), limitMs).catch(async (error: unknown) => {
      tcp.destroy();
      throw new NoTls(messageOf(error), isPlainHttp(error) ? await whoAnswers(host, port) : null);
    });
    const tlsMs = Math.round(performance.now() - began);
    return (
      judge(socket, where, root) ??
      ok(`${where} answers and is the control plane`, { tcpMs, tlsMs })
    );
  } catch (error) {
    if (error instanceof NoTls) return error.finding(where);
    return failure(
      `${where} cannot be reached: ${messageOf(error)}`,
      `let ${host} port ${port}/TCP out in the firewall, or set link.proxy to a proxy that allows CONNECT`,
    );
  } finally {
    socket?.destroy();
  }
};

const handshake = (socket: Socket, host: string) =>
  new Promise<TLSSocket>((resolve, reject) => {
    const tls = connect({
      socket,
      // Judged below, by our verifier: what stands in the way is what we want to see.
      rejectUnauthorized: false,
      ...(isIP(host) === 0 && { servername: host }),
    });
    tls.once('secureConnect', () => resolve(tls));
    tls.once('error', reject);
    tls.once('close', () => reject(new Error('it was closed in the middle of the TLS handshake')));
  });

/** undefined when the chain ends at our root. */
const judge = (
  socket: TLSSocket,
  where: string,
  root: ControlPlaneOptions['root'],
): Finding | undefined => {
  const chain = peerChain(socket).map((der) => parseCertificate(der));
  if (root === undefined) {
    return ok(`${where} answers; whether it is the control plane is known with --code CODE`);
  }
  const sha256 = typeof root === 'string' ? root : root.sha256;
  const known = typeof root === 'string' ? chain.find((c) => c.sha256 === root) : root;
  if (known === undefined) return intercepted(socket, where, sha256);
  try {
    const [own, ...rest] = peerChain(socket);
    verifyPresented(own === undefined ? [] : [own, ...rest], {
      role: 'control-plane',
      root: known,
      at: 'unchecked',
    });
    return undefined;
  } catch (error) {
    return intercepted(socket, where, sha256, messageOf(error));
  }
};

const intercepted = (
  socket: TLSSocket,
  where: string,
  rootSha256: string,
  why?: string,
): Finding => {
  const { issuer, subject } = socket.getPeerCertificate();
  return failure(
    `${where}: TLS is intercepted, or this is another server: its certificate is for ${nameOf(subject)}, issued by ${nameOf(issuer)}, not by the fleet's root`,
    `have ${where.split(' ')[1]} exempted from TLS inspection on this network, or use another uplink; a captive portal wants somebody to log in first`,
    {
      subject: nameOf(subject),
      issuer: nameOf(issuer),
      expected_root_sha256: rootSha256,
      ...(why !== undefined && { why }),
    },
  );
};

const nameOf = (name: PeerCertificate['subject'] | undefined): string => {
  const { CN, O } = name ?? {};
  return [CN, O].flat().filter(Boolean).map(String).join(', ') || 'nobody by name';
};

/** Something answered, and not with TLS. */
class NoTls extends Error {
  readonly #http: string | null;

  constructor(why: string, http: string | null) {
    super(why);
    this.#http = http;
  }

  finding(where: string): Finding {
    if (this.#http === null) {
      return failure(
        `${where} answers, but not with TLS: ${this.message}`,
        'something between here and there breaks TLS: try another uplink, or ask who runs this network',
      );
    }
    return failure(
      `${where}: a captive portal or a proxy answers in plain HTTP (${this.#http})`,
      'log in to the portal of this network from a browser, or have this gateway exempted from it',
      { answer: this.#http },
    );
  }
}

const isPlainHttp = (error: unknown): boolean =>
  /wrong version number|packet length too long|unexpected message/i.test(messageOf(error)) ||
  (error as { code?: unknown }).code === 'ERR_SSL_WRONG_VERSION_NUMBER';

/** What a plain request gets: `302 to http://login.example/`. */
const whoAnswers = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const asked = request({ host, port, path: '/', timeout: limitMs }, (response) => {
      response.destroy();
      const { location } = response.headers;
      resolve(`${response.statusCode}${location === undefined ? '' : ` to ${location}`}`);
    });
    asked.on('error', () => resolve('no HTTP answer'));
    asked.on('timeout', () => asked.destroy());
    asked.end();
  });
