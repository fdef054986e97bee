/**
 * For tests: a site's gateway as a device sees it, over real TLS: MQTT as far as a device uses it, enrolment and firmware over HTTPS.
 *
 * It keeps no rules of a gateway's. A test says what is answered and when, and waits for what the device said.
 */

import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTls, type TLSSocket } from 'node:tls';
import type { TestManifest } from '@holdfast/provisioning/firmware/test-releases';
import { type Certificate, normaliseSerial } from '@holdfast/provisioning/pki/certificate';
import { encodeCertsOnly } from '@holdfast/provisioning/pki/certs-only';
import { formatClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { parseRequest } from '@holdfast/provisioning/pki/csr';
import { nameField } from '@holdfast/provisioning/pki/distinguished-name';
import { issueDevice } from '@holdfast/provisioning/pki/issue';
import { createTestFleet, type TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet';
import { TestPlan } from './test-plan.js';

export interface Said {
  readonly topic: string;
  readonly body: unknown;
}

const secret = '0123456789abcdef';

export class TestGateway {
  readonly fleet: TestFleet;
  readonly plan: TestPlan;
  readonly said: Said[] = [];
  /** Called before a publish is acknowledged; false keeps the acknowledgement back. */
  onPublish: (said: Said) => boolean = () => true;
  readonly #changes = new EventEmitter();
  readonly #sockets = new Set<Socket>();
  readonly #firmware = new Map<string, Buffer>();
  readonly #servers: { close(): unknown }[] = [];
  readonly ports = { mqtts: 0, https: 0 };
  connections = 0;
  /** Ends every connection before its session, as one of a device that is disabled. */
  putsOut = false;
  /** How long the certificates live that it gives. */
  lifetimeMs = 86_400_000;
  /** The time by which it certifies; epoch ms. */
  now: () => number = Date.now;
  /** What a renewal is refused with; null grants it. */
  refusal: { readonly status: number; readonly code: string; readonly message: string } | null =
    null;
  /** The certificates given at renewals, and those that connections of MQTT were made with. */
  readonly renewed: Certificate[] = [];
  readonly shown: string[] = [];
  readonly #sessions = new Map<string, Socket>();
  #messageId = 1;

  private constructor(fleet: TestFleet) {
    this.fleet = fleet;
    this.plan = new TestPlan(fleet);
    this.#changes.setMaxListeners(0);
  }

  static async open(fleet?: TestFleet): Promise<TestGateway> {
    const gateway = new TestGateway(fleet ?? (await createTestFleet()));
    await gateway.#listen();
    return gateway;
  }

  /** For any device id. */
  get code(): string {
    const rootSha256 = this.fleet.root.certificate.sha256;
    const address = `127.0.0.1:${String(this.ports.https)}`;
    return formatClaimCode({ kind: 'device', secret, rootSha256, address });
  }

  /** Signed for whoever it is for. */
  addFirmware(
    bytes: Buffer,
    release: Omit<TestManifest, 'image'> = { model: 'pi', version: '2.0.0' },
  ): { url: string; sha256: string; sizeBytes: number } {
    this.plan.add({ image: bytes, ...release });
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const url = `/firmware/sha256/${sha256}`;
    this.#firmware.set(url, bytes);
    return { url, sha256, sizeBytes: bytes.length };
  }

  /** Sends to every connected device. */
  send(topic: string, body: object): void {
    const payload = JSON.stringify(body);
    this.#messageId += 1;
    for (const socket of this.#sockets) {
      const fields = { topic, payload, qos: 1, messageId: this.#messageId } as const;
      socket.write(generate({ cmd: 'publish', dup: false, retain: false, ...fields }));
    }
  }

  /** The next thing said from now on, or one said before, that fits; `fits` is asked once for each. */
  async heard(fits: (said: Said) => boolean): Promise<Said> {
    for (let at = 0; ; at += 1) {
      while (at >= this.said.length) await once(this.#changes, 'said');
      const said = this.said[at];
      if (said !== undefined && fits(said)) return said;
    }
  }

  async connected(count: number): Promise<void> {
    while (this.connections < count) await once(this.#changes, 'connected');
  }

  async renewals(count: number): Promise<void> {
    while (this.renewed.length < count) await once(this.#changes, 'renewed');
  }

  /** Cuts every connection, as a crash would. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    this.cut();
  }

  async #listen(): Promise<void> {
    const { tls } = await this.fleet.gatewayServer('gateway-1');
    const options = { ...tls, requestCert: true, rejectUnauthorized: false };
    const mqtts = createTls(options, (socket) => this.#serve(socket));
    const https = createHttps(options, (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        const { refusal } = this;
        if (request.url?.endsWith('/simplereenroll') === true && refusal !== null) {
          response.writeHead(refusal.status);
          response.end(JSON.stringify(refusal));
          return;
        }
        void this.#answer(request.url ?? '', body).then((answer) => {
          response.writeHead(answer === null ? 404 : 200);
          response.end(answer ?? '{}');
        });
      });
    });
    for (const [name, server] of [
      ['mqtts', mqtts],
      ['https', https],
    ] as const) {
      server.on('tlsClientError', () => undefined);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      this.ports[name] = (server.address() as AddressInfo).port;
      this.#servers.push(server);
    }
    this.#servers.push({ close: () => https.closeAllConnections() });
  }

  async #answer(url: string, body: string): Promise<string | Buffer | null> {
    if (url.startsWith('/.well-known/est/')) return this.#answerEst(url, body);
    if (url === '/firmware/metadata') return JSON.stringify(await this.plan.answer());
    if (url !== '/api/v1/enroll') return this.#firmware.get(url) ?? null;
    // Written by the agent under test, and read as a test reads.
    const asked = JSON.parse(body) as { csr: string; device_id: string };
    const { publicKey } = await parseRequest(asked.csr);
    const { fleet, site, siteCa, root } = this.fleet;
    const { lifetimeMs } = this;
    const options = { device: asked.device_id, now: this.now(), lifetimeMs };
    const certificate = await issueDevice(siteCa, publicKey, options);
    return JSON.stringify({
      fleet,
      site,
      device_id: asked.device_id,
      certificate: certificate.pem,
      site_ca: siteCa.certificate.pem,
      root: root.certificate.pem,
      ports: this.ports,
    });
  }

  /** Without a look at who asks: that is the real gateway's. */
  async #answerEst(url: string, body: string): Promise<string | null> {
    const { root, siteCa } = this.fleet;
    if (url.endsWith('/cacerts')) return toBase64([siteCa.certificate, root.certificate]);
    const { publicKey, subject } = await parseRequest(Buffer.from(body, 'base64'));
    const device = nameField(subject ?? [], 'commonName') ?? '';
    const { lifetimeMs } = this;
    const certificate = await issueDevice(siteCa, publicKey, {
      device,
      now: this.now(),
      lifetimeMs,
    });
    this.renewed.push(certificate);
    this.#changes.emit('renewed');
    return toBase64([certificate]);
  }

  #serve(socket: TLSSocket): void {
    const packets = parser({ protocolVersion: 4 });
    packets.on('packet', (packet: Packet) => this.#receive(socket, packet));
    socket.on('data', (chunk: Buffer) => packets.parse(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #receive(socket: TLSSocket, packet: Packet): void {
    switch (packet.cmd) {
      case 'connect':
        if (this.putsOut) {
          socket.destroy();
          break;
        }
        // Whoever had the session is cut.
        this.#sessions.get(packet.clientId)?.destroy();
        this.#sessions.set(packet.clientId, socket);
        this.shown.push(normaliseSerial(socket.getPeerCertificate().serialNumber));
        socket.write(generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }));
        break;
      case 'subscribe': {
        const { messageId = 0, subscriptions } = packet;
        socket.write(generate({ cmd: 'suback', messageId, granted: subscriptions.map(() => 1) }));
        this.#sockets.add(socket);
        this.connections += 1;
        this.#changes.emit('connected');
        break;
      }
      case 'publish':
        this.#take(socket, packet);
        break;
      case 'pingreq':
        socket.write(generate({ cmd: 'pingresp' }));
        break;
      default:
    }
  }

  #take(socket: Socket, packet: IPublishPacket): void {
    const said = { topic: packet.topic, body: JSON.parse(packet.payload.toString()) as unknown };
    if (!this.onPublish(said)) return;
    this.said.push(said);
    if (!socket.destroyed) {
      socket.write(generate({ cmd: 'puback', messageId: packet.messageId ?? 0 }));
    }
    this.#changes.emit('said');
  }
}

const toBase64 = (certificates: readonly Certificate[]): string =>
  Buffer.from(encodeCertsOnly(certificates)).toString('base64');
