/** HTTPS for devices (8443): enrolment, which needs a code or the manufacturer's certificate, and firmware, for a certificate or a signed address. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type EnrolmentAnswer,
  type EnrolmentRequest,
  enrolmentRequest,
} from '@holdfast/protos/local/enrolment';
import { reasonOf } from '@holdfast/protos/mqtt/json-payload';
import { peerChain } from '@holdfast/provisioning/pki/tls-peer';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';
import type { ImageServer } from '../../firmware/image-server.js';
import type { AccessRefusal } from '../../trust/access-log.js';
import type { IdentifyDevice } from '../../trust/identify-device.js';
import type { IdentifyTarget } from '../../trust/identify-target.js';
import type { IdentifyUrl } from '../../trust/identify-url.js';
import { anonymous, type Principal } from '../../trust/identity.js';
import { basicChallenge } from '../est/est-routes.js';
import { type HttpDoor, type HttpDoorOptions, openHttpDoor, socketOf } from './http-door.js';
import type { FoundRoute, Route, RouteRequest } from './routes.js';

export interface DeviceDoorDeps {
  /** Of other parts. */
  readonly routes?: readonly Route[];
  readonly enrolment: {
    enrol(
      request: EnrolmentRequest,
      remoteAddress: string,
      presented: readonly Uint8Array[],
    ): Promise<EnrolmentAnswer>;
  };
  readonly images: Pick<ImageServer, 'serve'>;
  /** Whether a device may load this firmware now: not while all updates are stopped. */
  readonly mayLoad: (device: string, sha256: string) => boolean;
  /** Who is at the other end, by certificate. */
  readonly identify: IdentifyDevice;
  /** The same, also for a certificate that has expired: asked where it is renewed, and nowhere else. */
  readonly identifyForRenewal: IdentifyDevice;
  /** Who is, by the address itself; asked where it may be signed, and when no certificate says it. */
  readonly identifyByUrl: IdentifyUrl;
  /** Who is, by a token; asked at hawkBit's device interface, when no certificate says it. */
  readonly identifyByToken?: IdentifyTarget;
  /** What is told there of a refusal. */
  readonly tokenRefusal?: (address: string, hasShown: boolean) => HoldfastError;
  readonly onRefused?: (refusal: AccessRefusal) => void;
  readonly log: StoreLog;
}

export const openDeviceDoor = (
  deps: DeviceDoorDeps,
  options: Omit<HttpDoorOptions, 'asksForCertificate'>,
): Promise<HttpDoor> => {
  const { enrolment, images, log } = deps;

  const enrol = async ({ body, request }: RouteRequest): Promise<object> => {
    const parsed = v.safeParse(enrolmentRequest, body, { abortEarly: true });
    if (!parsed.success) throw new HoldfastError('REQUEST_INVALID', reasonOf(parsed.issues));
    return enrolment.enrol(
      parsed.output,
      request.socket.remoteAddress ?? '',
      peerChain(socketOf(request)),
    );
  };

  const serve = async ({ who, request, response, params }: RouteRequest): Promise<undefined> => {
    const sha256 = params.get('sha256') ?? '';
    const mayGoOn = (): boolean =>
      !('device' in who) || who.device === null || deps.mayLoad(who.device, sha256);
    if (!mayGoOn()) {
      throw new HoldfastError('UPDATES_STOPPED', 'all updates are stopped until that is lifted', {
        data: { retryAfterMs: stoppedRetryMs },
      });
    }
    await images.serve(request, response, sha256, { mayGoOn });
    return undefined;
  };

  const identifyByUrl = ({ params, query }: FoundRoute): Principal | undefined => {
    const identity = deps.identifyByUrl(params.get('sha256') ?? '', query);
    return identity?.kind === 'refused' ? { kind: 'anonymous', reason: identity.reason } : identity;
  };

  const routes: readonly Route[] = [
    ...(deps.routes ?? []),
    { method: 'POST', path: '/api/v1/enroll', right: 'enrol', handle: enrol },
    ...(['GET', 'HEAD'] as const).map(
      (method): Route => ({
        method,
        path: '/firmware/sha256/:sha256',
        right: 'firmware.download',
        handle: serve,
      }),
    ),
  ];
  return openHttpDoor(
    {
      routes,
      log,
      identify: (request, found) => {
        const { right } = found.route;
        const identify = right === 'est.renew' ? deps.identifyForRenewal : deps.identify;
        const identity = identify(socketOf(request));
        if (identity.kind === 'device') return identity;
        if (right === 'ddi.use') {
          const byToken = deps.identifyByToken?.(request);
          return byToken?.kind === 'refused'
            ? { kind: 'anonymous', reason: byToken.reason }
            : (byToken ?? anonymous);
        }
        const byUrl = right === 'firmware.download' ? identifyByUrl(found) : undefined;
        return byUrl ?? { kind: 'anonymous', reason: identity.reason };
      },
      refusal: (request, { who, route, reason }) => {
        deps.onRefused?.({ who, verb: 'call', what: route.right, reason });
        if (route.right === 'ddi.use' && deps.tokenRefusal !== undefined) {
          return deps.tokenRefusal(request.socket.remoteAddress ?? '', who !== anonymous);
        }
        return new HoldfastError(
          'PEER_REFUSED',
          'this needs the certificate of a device of this site',
          {
            data: {
              reason: who.kind === 'anonymous' ? (who.reason ?? reason) : reason,
              ...(route.right === 'firmware.download' &&
                isOfUrl(who) && {
                  next: 'The address holds no longer, or was not made here: a new address comes with the next command',
                }),
              ...(route.right === 'est.renew' && {
                challenge: basicChallenge,
                next: 'If it had one, that is revoked, or the device is out of service. Enrol with a new code: holdfast device claim ID',
              }),
            },
          },
        );
      },
    },
    { ...options, asksForCertificate: true },
  );
};

/** How long a device waits before it asks again while all updates are stopped. */
const stoppedRetryMs = 60_000;

const isOfUrl = (who: Principal): boolean =>
  who.kind === 'anonymous' && who.reason?.startsWith('URL_') === true;
