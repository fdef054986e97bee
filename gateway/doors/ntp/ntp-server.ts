/**
 * Serves the time of the site to its devices by NTP, as far as it is known: while it is not, it says so, and no client takes it.
 *
 * UDP tells nobody who asks. So no answer is larger than its question, a sender gets no more than a few in a while, nobody beyond the
 * local network gets any, and no other mode of NTP is served (the control queries of old servers were used to flood others).
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { BlockList, isIPv6 } from 'node:net';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { ClockSource } from '@holdfast/provisioning/time/clock-trust';
import type { ClockStatus } from '@holdfast/provisioning/time/trusted-clock';
import { readQuestion, writeAnswer } from './ntp-packet.js';
import { SenderBudget } from './sender-budget.js';

export interface NtpServerDeps {
  readonly clock: { status(): ClockStatus; monotonic(): number };
  readonly log: StoreLog;
}

export interface NtpServerOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
}

export interface NtpServer {
  readonly port: number;
  /** Idempotent. */
  close(): Promise<void>;
}

/** How far from a reference clock each is. None of them is one, so that devices prefer a server that is nearer to one. */
const strata: Readonly<Record<ClockSource, number>> = { ntp: 4, signed: 5, rtc: 10, operator: 12 };

/** Errors: CONNECTION_FAILED when the port cannot be had. */
export const openNtpServer = async (
  { clock, log }: NtpServerDeps,
  { host, port }: NtpServerOptions,
): Promise<NtpServer> => {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  const budget = new SenderBudget();
  socket.on('message', (packet: Buffer, sender: RemoteInfo) => {
    const { now: receivedAt, trusted, source, errorMs } = clock.status();
    const question = readQuestion(packet);
    if (question === undefined || !isLocal(sender)) return;
    if (!budget.take(sender.address, clock.monotonic())) return;
    const known = trusted && source !== null ? { stratum: strata[source], errorMs } : undefined;
    const answer = writeAnswer(question, { receivedAt, sentAt: receivedAt, clock: known });
    // What does not arrive is asked for again.
    socket.send(answer, sender.port, sender.address, () => undefined);
  });
  await bind(socket, { host, port });
  socket.on('error', (err) => log.warn({ err }, 'a question for the time could not be taken'));
  let closed: Promise<unknown> | undefined;
  return {
    port: socket.address().port,
    async close() {
      if (closed === undefined) {
        closed = once(socket, 'close');
        socket.close();
      }
      await closed;
    },
  };
};

const bind = async (socket: Socket, { host, port }: NtpServerOptions): Promise<void> => {
  socket.bind({ address: host, port });
  try {
    await once(socket, 'listening');
  } catch (cause) {
    socket.close();
    throw new HoldfastError(
      'CONNECTION_FAILED',
      `time.ntpPort: UDP port ${port} cannot be had: ${messageOf(cause)}. Below 1024 it takes CAP_NET_BIND_SERVICE, and no other NTP server on it`,
      { cause },
    );
  }
};

/** Private and link-local addresses (RFC 1918, 3927, 4193, 4291), and this machine's. */
const local = new BlockList();
for (const [net, bits] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['127.0.0.0', 8],
] as const) {
  local.addSubnet(net, bits, 'ipv4');
}
for (const [net, bits] of [
  ['fc00::', 7],
  ['fe80::', 10],
  ['::1', 128],
] as const) {
  local.addSubnet(net, bits, 'ipv6');
}

const isLocal = ({ address, family }: RemoteInfo): boolean =>
  local.check(address.replace(/%.*$/, ''), family === 'IPv6' ? 'ipv6' : 'ipv4');
