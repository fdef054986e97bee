/** The far end of the link in tests: enrols as a gateway does and says what the test tells it to. */

import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type ClientDuplexStream, credentials, type StatusObject } from '@grpc/grpc-js';
import {
  type CloudMessage,
  type GatewayHello,
  type GatewayMessage,
  type JournalBatch,
  type LanePosition,
  LinkClient,
} from '@holdfast/protos/gen/holdfast/v1/link';
import type { EnrollGatewayResponse } from '@holdfast/protos/gen/holdfast/v1/sites';
import { packEntries } from '@holdfast/protos/link/journal-batch';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { chainAfter } from '@holdfast/protos/semantics/journal-chain';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import { laneOf } from '../link/lanes.js';
import type { ApiUnderTest } from './cloud-under-test.js';

/** What it takes to dial: certificates and key in PEM. */
export interface LinkCredentials {
  readonly root: string;
  readonly key: string;
  readonly cert: string;
}

export interface GatewayStandIn extends LinkCredentials {
  readonly enrolled: EnrollGatewayResponse;
}

/** Dials the link that the enrolment named. */
export const dial = (gateway: GatewayStandIn): StandInLink =>
  new StandInLink(gateway, gateway.enrolled.linkAddress);

/** Creates the site and enrols a gateway for it; `replace` puts one in another's place. */
export const enrolStandIn = async (
  api: ApiUnderTest,
  siteId: string,
  { replace = false }: { readonly replace?: boolean } = {},
): Promise<GatewayStandIn> => {
  if (!replace) {
    await api.call(api.sites, api.sites.createSite, { siteId, site: undefined });
  }
  const { code } = await api.call(api.sites, api.sites.createGatewayCode, {
    name: `sites/${siteId}`,
    replace,
    lifetimeSeconds: 0,
  });
  const key = await createKey();
  const request = {
    secret: parseClaimCode(code, 'gateway').secret,
    gatewayCsr: Buffer.from(await createRequest(key, { commonName: 'gateway' })),
    siteCaCsr: Buffer.from(await createRequest(await createKey(), { commonName: 'site CA' })),
    version: '0.0.0',
  };
  const enrolled = await api.call(api.sites, api.sites.enrollGateway, request, { token: '' });
  return {
    enrolled,
    root: api.rootPem,
    key: privatePem(key),
    cert: parseCertificate(new Uint8Array(enrolled.gatewayCertificate)).pem,
  };
};

type Said = NonNullable<CloudMessage['message']>;
type ValueOf<C extends Said['$case']> = Extract<Said, { $case: C }>['value'];

/** One connection. */
export class StandInLink {
  readonly #client: LinkClient;
  readonly #call: ClientDuplexStream<GatewayMessage, CloudMessage>;
  readonly #inbox: Said[] = [];
  readonly #said = new EventEmitter();
  readonly ended: Promise<StatusObject>;
  /** Answers pings; a gateway that hangs does not. */
  isAnswering = true;

  constructor({ root, key, cert }: LinkCredentials, address: string) {
    this.#client = new LinkClient(
      address,
      credentials.createSsl(Buffer.from(root), Buffer.from(key), Buffer.from(cert)),
    );
    this.#call = this.#client.connect();
    // `ended` says how it ended.
    this.#call.on('error', () => undefined);
    this.#call.on('data', ({ message }: CloudMessage) => {
      if (message?.$case === 'ping') {
        if (this.isAnswering) this.say({ $case: 'pong', value: message.value });
        return;
      }
      if (message !== undefined) this.#inbox.push(message);
      this.#said.emit('said');
    });
    this.ended = new Promise((resolve) => this.#call.once('status', resolve));
  }

  hello(hello: Partial<GatewayHello> = {}): void {
    this.say({
      $case: 'hello',
      value: {
        epoch: 1n,
        bootId: 'boot',
        version: '0.0.0',
        journal: [],
        ordersLog: '',
        ordersSeq: 0n,
        ordersChain: Buffer.alloc(0),
        planGeneration: 0n,
        planRevision: 0n,
        windowBytes: 1 << 20,
        ...hello,
      },
    });
  }

  say(message: NonNullable<GatewayMessage['message']>): void {
    this.#call.write({ message });
  }

  /** The next message of this kind; those before it of other kinds stay for later. */
  async next<C extends Said['$case']>($case: C, timeoutMs = 10_000): Promise<ValueOf<C>> {
    await this.arrived([$case], timeoutMs);
    const at = this.#inbox.findIndex((message) => message.$case === $case);
    // What `$case` says it is, it is.
    return this.#inbox.splice(at, 1)[0]?.value as ValueOf<C>;
  }

  /** Resolves when a message of one of these kinds has come and was not taken. */
  async arrived(cases: readonly Said['$case'][], timeoutMs = 10_000): Promise<void> {
    while (!cases.some(($case) => this.has($case))) {
      await withDeadline(
        (signal) =>
          Promise.race([
            once(this.#said, 'said', { signal }),
            this.ended.then(({ details }) => {
              if (!cases.some(($case) => this.has($case))) {
                throw new Error(`the link ended (${details}) without ${cases.join()}`);
              }
            }),
          ]),
        timeoutMs,
        { doing: `waiting for ${cases.join()}` },
      );
    }
  }

  /** Whether such a message has come and was not taken. */
  has($case: Said['$case']): boolean {
    return this.#inbox.some((message) => message.$case === $case);
  }

  close(): void {
    this.#call.cancel();
    this.#client.close();
  }
}

/** A log of one lane as a gateway keeps it. */
export class StandInLog {
  readonly lane: LaneName;
  readonly log = randomBytes(16).toString('hex');
  #seq: number;
  #chain: Uint8Array = new Uint8Array(0);

  constructor(lane: LaneName, { after = 0 }: { readonly after?: number } = {}) {
    this.lane = lane;
    this.#seq = after;
  }

  get position(): LanePosition {
    return {
      lane: laneOf(this.lane),
      log: this.log,
      seq: BigInt(this.#seq),
      chain: Buffer.from(this.#chain),
    };
  }

  /** The next batch of the log. */
  async batch(
    entries: readonly { readonly kind: string; readonly body: unknown }[],
  ): Promise<JournalBatch> {
    const first = this.#seq + 1;
    const previousChain = Buffer.from(this.#chain);
    const numbered = entries.map(({ kind, body }, index) => ({
      seq: first + index,
      at: 1_000,
      kind,
      body,
    }));
    this.#seq += entries.length;
    this.#chain = chainAfter(
      this.#chain,
      this.lane,
      numbered.map(({ seq, kind, body }) => ({ seq, kind, body: canonicalJson(body) })),
    );
    const text = canonicalJson(numbered);
    return {
      lane: laneOf(this.lane),
      log: this.log,
      firstSeq: BigInt(first),
      lastSeq: BigInt(this.#seq),
      previousChain,
      chain: Buffer.from(this.#chain),
      entries: await packEntries(text),
      uncompressedBytes: Buffer.byteLength(text),
    };
  }
}
