/**
 * The device's MQTT session with its gateway: kept up, with full-jitter backoff, over every break. QoS 1, a persistent session.
 *
 * Each connection is verified before a byte is written to it. What was not acknowledged when a connection ends is rejected, and its
 * owner's to send again: nothing is queued here. A message from the gateway is acknowledged after its handler resolved.
 *
 * Errors: `CONNECTION_FAILED` (offline, or the connection ended first), `DEADLINE_EXCEEDED`.
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { connectVerified } from '@holdfast/provisioning/pki/first-contact';
import { backoff } from '@holdfast/provisioning/time/backoff';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { wait } from '@holdfast/provisioning/time/wait';
import { MqttClient } from 'mqtt';
import type { ClientCertificate, GatewayTrust } from './gateway-trust.js';
import type { GatewayAddress } from './identity.js';
import type { Log } from './log.js';

export interface SessionHandlers {
  /** Subscribed and ready. */
  readonly connected: () => void;
  readonly disconnected: () => void;
  /** A rejection ends the connection, so that the message comes again. */
  readonly message: (topic: string, payload: Uint8Array) => Promise<void>;
}

export interface SessionDeps {
  readonly trust: GatewayTrust;
  readonly handlers: SessionHandlers;
  readonly log: Log;
}

export interface SessionOptions {
  readonly clientId: string;
  readonly gateways: readonly GatewayAddress[];
  /** Topic filters, subscribed anew with every connection. */
  readonly filters: readonly string[];
  readonly keepaliveS?: number;
  readonly firstRetryMs?: number;
  readonly mostRetryMs?: number;
  /** How long an acknowledgement may take. */
  readonly publishTimeoutMs?: number;
}

/** A verified connection over which nothing was said yet. */
interface Dialled {
  readonly socket: MqttClient['stream'];
  /** The certificate of this device that it was made with. */
  readonly shown: ClientCertificate;
}

const connectTimeoutMs = 15_000;
/** How long what is under way may take before the session goes over to another connection. */
const drainTimeoutMs = 5_000;
const endTimeoutMs = 1_000;
/** So often in a row is no accident. */
const telltaleTimes = 3;
/** A connection that lasted this long was one; the next attempts begin early again. */
const steadyAfterMs = 10_000;

export class DeviceSession {
  readonly #deps: SessionDeps;
  readonly #options: Required<SessionOptions>;
  readonly #closing = new AbortController();
  readonly #unacknowledged = new Set<(reason: HoldfastError) => void>();
  readonly #underWay = new Set<Promise<void>>();
  #client: MqttClient | null = null;
  /** The certificate that the connection of now was made with. */
  #shown: ClientCertificate | null = null;
  /** The connection that the session goes over to, and the one that it came from. */
  #heir: Dialled | null = null;
  #predecessor: MqttClient | null = null;
  #supersede: () => void = () => undefined;
  /** Ends the wait before the next attempt. */
  #hurry: () => void = () => undefined;
  #gateway: GatewayAddress;
  /** Whether TLS stood in the last attempt, and no session came of it. */
  #isVerified = false;
  #timesPutOut = 0;
  #running: Promise<void> | null = null;

  constructor(deps: SessionDeps, options: SessionOptions) {
    this.#deps = deps;
    this.#options = {
      keepaliveS: 30,
      firstRetryMs: 500,
      mostRetryMs: 15_000,
      publishTimeoutMs: 60_000,
      ...options,
    };
    const [first] = options.gateways;
    if (first === undefined)
      throw new HoldfastError('CONFIGURATION_INVALID', 'No gateway is known');
    this.#gateway = first;
  }

  get isConnected(): boolean {
    return this.#client !== null;
  }

  /** The gateway of this connection, else of the last attempt. */
  get gateway(): GatewayAddress {
    return this.#gateway;
  }

  /** Whether the certificate was renewed since this connection was made. */
  get isOutdated(): boolean {
    return this.#client !== null && this.#shown !== this.#deps.trust.client;
  }

  open(): void {
    this.#running ??= this.#keepConnected();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
    this.#dismissPredecessor();
  }

  /** Ends this connection; the next comes after the usual wait. */
  reconnect(): void {
    this.#client?.stream.destroy();
  }

  /**
   * Goes over to a connection made with the certificate of now. That is made first; then what is under way may finish, and the gateway
   * hands the session with all that it queues from one to the other. Where there is no connection, the next attempt is made at once: it
   * may have been the certificate that kept this device out. Errors: those of the connection; the session stays as it is.
   */
  async takeOver(): Promise<void> {
    const before = this.#client;
    if (before === null) this.#hurry();
    if (before === null || !this.isOutdated) return;
    const supersede = this.#supersede;
    const heir = await this.#dial(this.#gateway, this.#closing.signal);
    if (this.#client !== before) {
      // It broke meanwhile; the next is made with the new certificate anyway.
      heir.socket.destroy();
      return;
    }
    this.#heir = heir;
    this.#client = null;
    this.#deps.handlers.disconnected();
    await withDeadline(this.#acknowledged(), drainTimeoutMs).catch(() => undefined);
    // Of the connection before: should that have ended by itself meanwhile, the session is on the other one already.
    supersede();
  }

  /** Resolves when the gateway acknowledged it, and so has it on disk. */
  async publish(topic: string, payload: object | string | number): Promise<void> {
    const client = this.#client;
    if (client === null) throw new HoldfastError('CONNECTION_FAILED', 'The gateway is away');
    const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
    const acknowledged = new Promise<void>((resolve, reject) => {
      this.#unacknowledged.add(reject);
      client
        .publishAsync(topic, text, { qos: 1 })
        .then(() => resolve(), reject)
        .finally(() => this.#unacknowledged.delete(reject));
    });
    this.#underWay.add(acknowledged);
    const done = () => this.#underWay.delete(acknowledged);
    acknowledged.then(done, done);
    const doing = `publishing to ${topic}`;
    await withDeadline(acknowledged, this.#options.publishTimeoutMs, { doing }).catch((error) => {
      // Whoever sent it sends it again with the next connection: so this one, which does not serve, must end.
      if (isHoldfastError(error, 'DEADLINE_EXCEEDED')) client.stream.destroy();
      throw error;
    });
  }

  async #acknowledged(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #keepConnected(): Promise<void> {
    const { signal } = this.#closing;
    const { gateways, firstRetryMs, mostRetryMs } = this.#options;
    const newDelays = () => backoff({ firstMs: firstRetryMs, mostMs: mostRetryMs });
    let delays = newDelays();
    let attempt = 0;
    while (!signal.aborted) {
      const heir = this.#heir;
      this.#heir = null;
      if (heir === null) this.#gateway = gateways[attempt % gateways.length] ?? this.#gateway;
      const begunAt = performance.now();
      const reason = await this.#connectOnce(heir, signal).catch(messageOf);
      if (signal.aborted) break;
      if (performance.now() - begunAt > steadyAfterMs) delays = newDelays();
      // It goes on at once over the connection that is there.
      if (this.#heir !== null) continue;
      attempt += 1;
      this.#tellOf(reason);
      const hurried = new AbortController();
      this.#hurry = () => hurried.abort();
      const waiting = AbortSignal.any([signal, hurried.signal]);
      await wait(delays.next().value ?? mostRetryMs, waiting).catch(() => undefined);
    }
    this.#heir?.socket.destroy();
  }

  async #dial({ host, mqtts }: GatewayAddress, signal: AbortSignal): Promise<Dialled> {
    const { trust } = this.#deps;
    const shown = trust.client;
    const { socket } = await connectVerified({
      host,
      port: mqtts,
      trust: trust.now(),
      client: shown,
      timeoutMs: connectTimeoutMs,
      signal,
    });
    return { socket, shown };
  }

  /** Away is usual. To be let in by TLS and put out again before the session is up, time after time, is not. */
  #tellOf(reason: string): void {
    const { log } = this.#deps;
    const gateway = this.#gateway.host;
    this.#timesPutOut = this.#isVerified ? this.#timesPutOut + 1 : 0;
    if (this.#timesPutOut !== telltaleTimes) {
      log.info({ reason, gateway }, 'not connected');
      return;
    }
    const device = this.#options.clientId.split(':')[0] ?? '';
    log.warn(
      {
        reason,
        gateway,
        next: `whether it is disabled, or its certificate revoked, says at the gateway: holdfast --gateway device list. Then: holdfast --gateway device enable ${device}, or a new code for it: holdfast --gateway device claim ${device}`,
      },
      'the gateway puts this device out before its session begins: it may be disabled, or its certificate revoked',
    );
  }

  /** One connection from its beginning to its end; gives why it ended. */
  async #connectOnce(heir: Dialled | null, signal: AbortSignal): Promise<string> {
    const { handlers } = this.#deps;
    this.#isVerified = false;
    const { socket, shown } = heir ?? (await this.#dial(this.#gateway, signal));
    this.#isVerified = true;
    const client = this.#speak(socket);
    let reason = 'the connection ended';
    const closed = new Promise<void>((resolve) => {
      client.once('close', () => resolve());
    });
    let isSuperseded = false;
    const superseded = new Promise<void>((resolve) => {
      this.#supersede = () => {
        isSuperseded = this.#heir !== null;
        resolve();
      };
    });
    client.on('error', (error) => {
      reason = messageOf(error);
    });
    const end = () => void endClient(client);
    signal.addEventListener('abort', end, { once: true });
    try {
      await withDeadline(
        Promise.race([
          this.#subscribe(client),
          closed.then(() => Promise.reject(new Error(reason))),
        ]),
        connectTimeoutMs,
        { signal, doing: 'the MQTT handshake' },
      );
      this.#shown = shown;
      this.#client = client;
      this.#isVerified = false;
      handlers.connected();
      this.#dismissPredecessor();
      await Promise.race([closed, superseded]);
      return reason;
    } finally {
      signal.removeEventListener('abort', end);
      if (this.#client !== null) {
        this.#client = null;
        handlers.disconnected();
      }
      const lost = new HoldfastError('CONNECTION_FAILED', 'The connection ended first');
      for (const reject of this.#unacknowledged) reject(lost);
      this.#unacknowledged.clear();
      this.#dismissPredecessor();
      if (isSuperseded && !signal.aborted) {
        // The gateway cuts it when the session begins on the other one.
        this.#predecessor = client;
      } else {
        await endClient(client);
        socket.destroy();
      }
    }
  }

  #dismissPredecessor(): void {
    this.#predecessor?.stream.destroy();
    this.#predecessor = null;
  }

  #speak(socket: MqttClient['stream']): MqttClient {
    const { clientId, keepaliveS } = this.#options;
    // One client a connection: its own reconnection knows neither jitter nor a verifier.
    const client = new MqttClient(() => socket, {
      clientId,
      clean: false,
      protocolVersion: 4,
      keepalive: keepaliveS,
      reconnectPeriod: 0,
      connectTimeout: connectTimeoutMs,
      queueQoSZero: false,
    });
    client.handleMessage = (packet, callback) => {
      const { topic, payload } = packet;
      const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
      this.#deps.handlers.message(topic, bytes).then(
        () => callback(),
        (error: unknown) => {
          this.#deps.log.warn({ topic, error: messageOf(error) }, 'a message was not taken');
          client.stream.destroy();
        },
      );
    };
    return client;
  }

  async #subscribe(client: MqttClient): Promise<void> {
    await new Promise<void>((resolve) => {
      client.once('connect', () => resolve());
    });
    const grants = await client.subscribeAsync([...this.#options.filters], { qos: 1 });
    const refused = grants.find(({ qos }) => qos === 128);
    if (refused !== undefined) {
      throw new HoldfastError('NOT_AUTHORISED', `The gateway refuses ${refused.topic}`);
    }
  }
}

/** Politely, but not for long. */
const endClient = async (client: MqttClient): Promise<void> => {
  if (!client.stream.destroyed) {
    await withDeadline(client.endAsync(false), endTimeoutMs).catch(() => undefined);
  }
  client.stream.destroy();
};
