/** The gateway's local API (`/api/v1` on 8444) as the commands call it. */
import { Agent } from 'node:https';
import type { Readable } from 'node:stream';
import { type ErrorCode, errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Role, type SignInAnswer, signInAnswer } from '@holdfast/protos/local/people';
import { serialLineRow } from '@holdfast/protos/local/serial';
import type { LifecycleAction } from '@holdfast/protos/semantics/lifecycle';
import axios, { type AxiosInstance, isAxiosError } from 'axios';
import * as v from 'valibot';
import type { JsonObject } from './arguments.js';
import type { ExecutionRow, SiteCampaignRow } from './commands/campaign/campaign-rows.js';
import { type ClaimWish, claimsAtOnce, type OpenClaimRow } from './commands/claims.js';
import type { CertificateRow } from './commands/device-life.js';
import type { DeviceRow } from './commands/devices.js';
import type { UserRow } from './commands/users.js';
import { collect } from './context.js';
import { jsonLines } from './json-lines.js';
import type { Profile } from './profile.js';
import type { ShownClaim } from './show-claims.js';

const callTimeoutMs = 30_000;
const maxAnswerBytes = 16 * 1024 * 1024;
const maxLineBytes = 4 * 1024 * 1024;

const epochMs = v.nullable(v.number());

const statusAnswer = v.looseObject({
  site: v.string(),
  version: v.string(),
  link: v.looseObject({ state: v.string(), last_contact: epochMs }),
  plan: v.looseObject({ revision: v.number(), state: v.string() }),
  devices: v.looseObject({ total: v.number(), online: v.number() }),
  revocations: v.optional(
    v.looseObject({
      revoked: v.number(),
      as_of: epochMs,
      stale: v.boolean(),
      stops_when_stale: v.array(v.string()),
    }),
  ),
  windows: v.optional(
    v.looseObject({
      time_zone: v.string(),
      time_unknown: v.boolean(),
      times: v.array(
        v.looseObject({
          name: v.string(),
          for: v.array(v.string()),
          open: v.boolean(),
          opens_at: epochMs,
          closes_at: epochMs,
        }),
      ),
    }),
  ),
  emergency_stops: v.optional(
    v.array(
      v.looseObject({
        of: v.picklist(['site', 'fleet']),
        by: v.string(),
        reason: v.string(),
        at: v.number(),
      }),
    ),
    [],
  ),
  gpio_lines: v.optional(
    v.array(
      v.looseObject({
        name: v.string(),
        role: v.string(),
        problem: v.nullable(v.string()),
        state: v.exactOptional(v.string()),
      }),
    ),
    [],
  ),
  serial_lines: v.optional(v.array(serialLineRow), []),
});
export type GatewayStatus = v.InferOutput<typeof statusAnswer>;

const deviceAnswer = v.looseObject({
  device: v.string(),
  model: v.string(),
  firmware_version: v.nullable(v.string()),
  hardware: v.nullish(v.string()),
  online: v.boolean(),
  last_seen: epochMs,
  door: v.string(),
  serial_no: v.string(),
  enrolled_at: v.number(),
  lifecycle: v.optional(v.looseObject({ state: v.string() })),
});
const campaignsAnswer = v.object({
  campaigns: v.array(
    v.looseObject({
      campaign: v.string(),
      version: v.string(),
      state: v.string(),
      is_settled: v.boolean(),
      paused: v.nullable(v.looseObject({ by: v.string(), reason: v.string() })),
      executions: v.record(v.string(), v.number()),
      waits_for: v.optional(v.nullable(v.looseObject({ reason: v.string() })), null),
    }),
  ),
});
const executionsAnswer = v.object({
  executions: v.array(
    v.looseObject({
      device: v.string(),
      status: v.string(),
      attempt: v.number(),
      from_version: v.nullable(v.string()),
      to_version: v.string(),
      error: v.nullable(v.string()),
      waits_for: v.optional(v.nullable(v.string()), null),
    }),
  ),
});
const usersAnswer = v.object({
  users: v.array(v.object({ user: v.string(), role: v.string(), source: v.string() })),
});
const text = v.nullable(v.string());
const claimsAnswer = v.object({
  claims: v.array(
    v.looseObject({ code: v.string(), device_id: text, model: text, expires_at: v.number() }),
  ),
});
const openClaimsAnswer = v.object({
  claims: v.array(
    v.looseObject({
      claim: v.string(),
      device_id: text,
      model: text,
      created_at: v.number(),
      expires_at: v.number(),
    }),
  ),
});
const certificatesAnswer = v.object({
  certificates: v.array(
    v.looseObject({
      serial: v.string(),
      issued_at: v.number(),
      expires_at: v.number(),
      revoked_at: epochMs,
      revocation_reason: v.nullable(v.string()),
    }),
  ),
});

export interface GatewayClient {
  status(): Promise<GatewayStatus>;
  listDevices(): Promise<DeviceRow[]>;
  getDevice(device: string): Promise<DeviceRow>;
  listCampaigns(): Promise<SiteCampaignRow[]>;
  listExecutions(campaign: string): Promise<ExecutionRow[]>;
  /** `lifetimeSeconds` 0 is what the gateway thinks right. */
  createClaims(wishes: readonly ClaimWish[], lifetimeSeconds: number): Promise<ShownClaim[]>;
  listClaims(): Promise<OpenClaimRow[]>;
  deleteClaim(claim: string): Promise<void>;
  listCertificates(device: string): Promise<CertificateRow[]>;
  /** The serial numbers that were not revoked before. */
  revokeCertificates(
    device: string,
    which: { readonly serial: string | undefined; readonly reason: string | undefined },
  ): Promise<string[]>;
  changeLifecycle(
    device: string,
    action: LifecycleAction,
    reason: string,
  ): Promise<{ readonly state: string }>;
  get(path: string): Promise<unknown>;
  post(path: string, body: JsonObject): Promise<unknown>;
  patch(path: string, body: JsonObject): Promise<unknown>;
  delete(path: string): Promise<unknown>;
  /** What comes on an answer that does not end, a JSON value a line; ends with it, rejects when it breaks off. */
  lines(path: string, signal: AbortSignal): AsyncIterable<unknown>;
  listUsers(): Promise<UserRow[]>;
  addUser(user: string, role: Role, passwordHash: string): Promise<void>;
  changeUser(user: string, change: { role?: Role; password_hash?: string }): Promise<void>;
  removeUser(user: string): Promise<void>;
  signIn(user: string, password: string, earlierToken?: string): Promise<SignInAnswer>;
  signOut(): Promise<void>;
  close(): void;
}

export const openGatewayClient = (profile: Profile, signal: AbortSignal): GatewayClient => {
  const agent = new Agent({ ca: profile.root_pem, keepAlive: true });
  const http = axios.create({
    baseURL: `https://${profile.address}/api/v1`,
    headers: profile.token === '' ? {} : { authorization: `Bearer ${profile.token}` },
    httpsAgent: agent,
    proxy: false,
    maxRedirects: 0,
    maxContentLength: maxAnswerBytes,
    timeout: callTimeoutMs,
    signal,
  });
  const ask = askerOf(http, profile.address);
  return {
    status: async () => v.parse(statusAnswer, await ask('GET', '/status')),
    async listDevices() {
      const rows: DeviceRow[] = [];
      let token = '';
      do {
        const page = v.parse(
          v.object({ devices: v.array(deviceAnswer), next_page_token: v.optional(v.string(), '') }),
          await ask('GET', `/devices?page_size=1000&page_token=${encodeURIComponent(token)}`),
        );
        rows.push(...page.devices.map(rowOf));
        token = page.next_page_token;
      } while (token !== '');
      return rows;
    },
    getDevice: async (device) =>
      rowOf(v.parse(deviceAnswer, await ask('GET', `/devices/${encodeURIComponent(device)}`))),
    listCampaigns: async () => v.parse(campaignsAnswer, await ask('GET', '/campaigns')).campaigns,
    listExecutions: async (campaign) =>
      v.parse(
        executionsAnswer,
        await ask('GET', `/campaigns/${encodeURIComponent(campaign)}/executions`),
      ).executions,
    async listCertificates(device) {
      const answer = v.parse(certificatesAnswer, await ask('GET', pathOf(device, 'certificates')));
      return answer.certificates.map((one) => ({
        serial: one.serial,
        issue_time: new Date(one.issued_at),
        expire_time: new Date(one.expires_at),
        revoke_time: one.revoked_at === null ? undefined : new Date(one.revoked_at),
        revocation_reason: one.revocation_reason ?? undefined,
      }));
    },
    async revokeCertificates(device, { serial, reason }) {
      const body = { ...(serial && { serial }), ...(reason && { reason }) };
      const answer = await ask('POST', pathOf(device, 'revocations'), body);
      return v.parse(v.looseObject({ revoked: v.array(v.string()) }), answer).revoked;
    },
    changeLifecycle: async (device, action, reason) =>
      v.parse(
        v.looseObject({ state: v.string() }),
        await ask('POST', pathOf(device, 'lifecycle'), { action, reason }),
      ),
    async createClaims(wishes, lifetimeSeconds) {
      const made: ShownClaim[] = [];
      const { site } = v.parse(statusAnswer, await ask('GET', '/status'));
      for (let first = 0; first < wishes.length; first += claimsAtOnce) {
        const claims = wishes
          .slice(first, first + claimsAtOnce)
          .map(({ device = null, model = null }) => ({ device_id: device, model }));
        const lifetime = lifetimeSeconds === 0 ? {} : { lifetime_ms: lifetimeSeconds * 1_000 };
        const answer = await ask('POST', '/claims/batch', { claims, ...lifetime });
        made.push(...v.parse(claimsAnswer, answer).claims.map((row) => claimOf(row, site)));
      }
      return made;
    },
    listClaims: async () =>
      v.parse(openClaimsAnswer, await ask('GET', '/claims')).claims.map((row) => ({
        claim: row.claim,
        site: undefined,
        device: row.device_id ?? undefined,
        model: row.model ?? undefined,
        create_time: new Date(row.created_at),
        expire_time: new Date(row.expires_at),
      })),
    async deleteClaim(claim) {
      await ask('DELETE', `/claims/${encodeURIComponent(claim)}`);
    },
    get: (path) => ask('GET', path),
    post: (path, body) => ask('POST', path, body),
    patch: (path, body) => ask('PATCH', path, body),
    delete: (path) => ask('DELETE', path),
    lines: streamerOf(http, profile.address, signal),
    listUsers: async () => v.parse(usersAnswer, await ask('GET', '/users')).users,
    async addUser(user, role, passwordHash) {
      await ask('POST', '/users', { user, role, password_hash: passwordHash });
    },
    async changeUser(user, change) {
      await ask('PATCH', `/users/${encodeURIComponent(user)}`, change);
    },
    async removeUser(user) {
      await ask('DELETE', `/users/${encodeURIComponent(user)}`);
    },
    async signIn(user, password, earlierToken) {
      const earlier = earlierToken === undefined ? {} : { earlier_token: earlierToken };
      return v.parse(signInAnswer, await ask('POST', '/sessions', { user, password, ...earlier }));
    },
    async signOut() {
      await ask('DELETE', '/sessions/current');
    },
    close: () => agent.destroy(),
  };
};

const claimOf = (
  answer: v.InferOutput<typeof claimsAnswer>['claims'][number],
  site: string,
): ShownClaim => ({
  code: answer.code,
  expire_time: new Date(answer.expires_at),
  site,
  device: answer.device_id ?? undefined,
  model: answer.model ?? undefined,
});
const pathOf = (device: string, what: string): string =>
  `/devices/${encodeURIComponent(device)}/${what}`;

const rowOf = (answer: v.InferOutput<typeof deviceAnswer>): DeviceRow => ({
  site: undefined,
  device: answer.device,
  model: answer.model,
  firmware_version: answer.firmware_version ?? undefined,
  hardware: answer.hardware ?? undefined,
  online: answer.online,
  last_seen: answer.last_seen === null ? undefined : new Date(answer.last_seen),
  door: answer.door,
  serial_no: answer.serial_no,
  enroll_time: new Date(answer.enrolled_at),
  confirm_time: undefined,
  enrollment_problem: undefined,
  labels: {},
  lifecycle: answer.lifecycle?.state,
});

const errorAnswer = v.object({
  code: v.picklist(Object.keys(errorCodes) as ErrorCode[]),
  message: v.string(),
  next: v.optional(v.string()),
});

const askerOf =
  (http: AxiosInstance, address: string) =>
  async (method: string, url: string, body?: JsonObject): Promise<unknown> => {
    try {
      return (await http.request<unknown>({ method, url, data: body })).data;
    } catch (error) {
      throw isAxiosError(error) ? errorOf(error, error.response?.data, address) : error;
    }
  };

const streamerOf = (http: AxiosInstance, address: string, ended: AbortSignal) =>
  async function* (url: string, signal: AbortSignal): AsyncGenerator<unknown> {
    try {
      const response = await http.get<Readable>(url, {
        responseType: 'stream',
        timeout: 0,
        signal: AbortSignal.any([ended, signal]),
        validateStatus: () => true,
      });
      if (response.status === 200) {
        yield* jsonLines(response.data, maxLineBytes);
        return;
      }
      const [answer] = await collect(jsonLines(response.data, maxLineBytes));
      throw errorOf(new Error(`HTTP ${response.status}`), answer, address);
    } catch (error) {
      throw isAxiosError(error) ? errorOf(error, undefined, address) : error;
    }
  };

const errorOf = (cause: Error, said: unknown, address: string): HoldfastError => {
  const answer = v.safeParse(errorAnswer, said);
  if (answer.success) {
    const { code, message, next } = answer.output;
    return new HoldfastError(code, message, { cause, data: next ? { next } : {} });
  }
  return new HoldfastError(
    'CONNECTION_FAILED',
    `the gateway at ${address} does not answer: ${cause.message}`,
    { cause },
  );
};
