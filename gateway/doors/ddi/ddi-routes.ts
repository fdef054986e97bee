/**
 * The routes of hawkBit's device interface on the port for devices: who asks for which device, how often, in which tenant; and answers as
 * its clients read them. SWUpdate takes 503 for a refusal and 429 for "later", and asks for ever where a feedback is not answered with 200.
 */
import type { ServerResponse } from 'node:http';
import { parseDdiConfigData, parseDdiInstalled } from '@holdfast/protos/ddi/ddi-config-data';
import { parseDdiFeedback } from '@holdfast/protos/ddi/ddi-feedback';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import type { Parsed } from '@holdfast/protos/mqtt/json-payload';
import type { ImageServer } from '../../firmware/image-server.js';
import type { AccessRefusal } from '../../trust/access-log.js';
import { AttemptLimit } from '../../trust/attempt-limit.js';
import { authorise } from '../../trust/authorise.js';
import type { Route, RouteRequest } from '../local/routes.js';
import type { DdiDoor } from './ddi-door.js';
import { type DdiLinks, ddiLinks, originOf } from './ddi-links.js';
import { artifactAnswer, type WeakDigests } from './deployment-answer.js';

export interface DdiRoutesDeps {
  readonly door: Pick<
    DdiDoor,
    | 'artifact'
    | 'artifacts'
    | 'cancelAction'
    | 'cancelFeedback'
    | 'configData'
    | 'deployment'
    | 'feedback'
    | 'hasLoaded'
    | 'installed'
    | 'loads'
    | 'mayLoad'
    | 'poll'
    | 'runs'
  >;
  readonly images: Pick<ImageServer, 'serve'>;
  readonly digests: { of(sha256: string): Promise<WeakDigests> };
  readonly devices: { get(device: string): object | undefined };
  /** Throws DEVICE_DISABLED, DEVICE_RETIRED. */
  readonly lifecycles: { check(device: string): void };
  /** Throws GATEWAY_FENCED. */
  readonly fence: { check(): void };
  readonly onRefused?: (refusal: AccessRefusal) => void;
  /** Ms that never run back. */
  readonly monotonic: () => number;
}

export interface DdiRoutesOptions {
  readonly tenants: readonly string[];
  /** `https://host:port`, for clients that do not say how they reached the gateway. */
  readonly httpsAddress: () => string;
}

/** A request of a device that may ask. */
interface Asked {
  readonly device: string;
  readonly number: number;
  readonly links: DdiLinks;
  readonly request: RouteRequest;
}

/** Of one device: SWUpdate asks five times in a row, RAUC's updater sends twenty feedbacks an installation. */
const requestsAtOnce = 100;
const requestEveryMs = 200;
const root = '/:tenant/controller/v1/:controller';

export const ddiRoutes = (deps: DdiRoutesDeps, options: DdiRoutesOptions): readonly Route[] => {
  const { door, images, digests, monotonic } = deps;
  const requests = new AttemptLimit({ burst: requestsAtOnce, refillMs: requestEveryMs });

  /** Errors: RESOURCE_NOT_FOUND, NOT_AUTHENTICATED, those of the fence and of lifecycles, TOO_MANY_REQUESTS. */
  const admit = (request: RouteRequest): Asked => {
    const { params, who } = request;
    const tenant = params.get('tenant') ?? '';
    const device = params.get('controller') ?? '';
    const number = numberOf(params.get('id'));
    if (!options.tenants.includes(tenant)) throw nothing();
    const decision = authorise(who, 'speak', device);
    if (!decision.allowed || !isDeviceId(device)) {
      const reason = decision.allowed ? 'DEVICE_OF_ANOTHER' : decision.reason;
      deps.onRefused?.({ who, verb: 'speak', what: device, reason });
      throw new HoldfastError('NOT_AUTHENTICATED', 'this is not the token or certificate of it', {
        data: { challenge },
      });
    }
    // The gateway token enrols nobody.
    if (who.kind === 'target' && deps.devices.get(device) === undefined) throw nothing();
    deps.fence.check();
    deps.lifecycles.check(device);
    const now = monotonic();
    const delayMs = requests.delayMs(device, now);
    if (delayMs > 0) {
      throw new HoldfastError('TOO_MANY_REQUESTS', `${device} asks too often`, {
        data: { retryAfterMs: delayMs },
      });
    }
    requests.failed(device, now);
    const origin = originOf(request.request.headers.host, options.httpsAddress);
    return { device, number, links: ddiLinks(origin, tenant, device), request };
  };

  const route = (
    method: Route['method'],
    path: string,
    work: (asked: Asked) => Promise<unknown>,
  ): Route => ({
    method,
    path: `${root}${path}`,
    right: 'ddi.use',
    body: 'bytes',
    handle: async (request) => {
      const { response } = request;
      try {
        const answer = await work(admit(request));
        if (!response.headersSent) send(response, answer);
      } catch (error) {
        throw retryable(error);
      }
      return undefined;
    },
  });

  const serve = async ({ device, number, request: { request, response, params } }: Asked) => {
    const name = params.get('file') ?? '';
    const asksDigest = name.endsWith(digestSuffix);
    const image = await door.artifact(
      ...[device, number],
      asksDigest ? name.slice(0, -digestSuffix.length) : name,
    );
    const { sha1, md5 } = await digests.of(image.sha256);
    if (asksDigest) {
      return sendText(response, `${md5}  ${name.slice(0, -digestSuffix.length)}\n`);
    }
    if (request.method === 'HEAD')
      return images.serve(request, response, image.sha256, { tag: sha1 });
    await door.loads(device, number);
    const mayGoOn = () => door.mayLoad(device, number);
    await images.serve(request, response, image.sha256, { tag: sha1, mayGoOn });
    if (response.writableFinished && isToTheEnd(response)) await door.hasLoaded(device, number);
  };

  return [
    route('GET', '', ({ device, links }) => door.poll(device, links)),
    route('PUT', '/configData', ({ device, request }) =>
      door.configData(device, parsed(parseDdiConfigData(bytesOf(request)))),
    ),
    route('PUT', '/installedBase', ({ device, request }) =>
      door.runs(device, parsed(parseDdiInstalled(bytesOf(request))).version),
    ),
    route('GET', '/deploymentBase/:id', ({ device, number, links }) =>
      door.deployment(device, number, links),
    ),
    route('POST', '/deploymentBase/:id/feedback', ({ device, number, request }) =>
      door.feedback(device, number, parsed(parseDdiFeedback(bytesOf(request)))),
    ),
    route('GET', '/cancelAction/:id', ({ device, number }) => door.cancelAction(device, number)),
    route('POST', '/cancelAction/:id/feedback', ({ device, number, request }) =>
      door.cancelFeedback(device, number, parsed(parseDdiFeedback(bytesOf(request)))),
    ),
    route('GET', '/installedBase/:id', ({ device, number, links }) =>
      door.installed(device, number, links),
    ),
    // What a campaign lets a device do, people have approved: it has nobody to ask.
    route('GET', '/confirmationBase', async () => ({ autoConfirm: { active: true } })),
    route('GET', '/softwaremodules/:id/artifacts', async ({ device, number, links }) => {
      const found = await door.artifacts(device, number);
      return Promise.all(
        found.map(async (image) =>
          artifactAnswer({ number, image, links, digests: await digests.of(image.sha256) }),
        ),
      );
    }),
    route('GET', '/softwaremodules/:id/artifacts/:file', serve),
    route('HEAD', '/softwaremodules/:id/artifacts/:file', serve),
  ];
};

export const challenge = 'TargetToken';
const digestSuffix = '.MD5SUM';

/** Errors: RESOURCE_NOT_FOUND for what is no 32-bit decimal. 0, which no action has, where the path has none. */
const numberOf = (text: string | undefined): number => {
  if (text === undefined) return 0;
  const number = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number < 2 ** 31) return number;
  throw nothing();
};

const nothing = (): HoldfastError =>
  new HoldfastError('RESOURCE_NOT_FOUND', 'there is nothing of the kind for this device');

// The route says that its body is bytes.
const bytesOf = ({ body }: RouteRequest): Uint8Array => body as Uint8Array;

const parsed = <T>(result: Parsed<T>): T => {
  if (result.ok) return result.value;
  throw new HoldfastError('REQUEST_INVALID', result.reason);
};

const send = (response: ServerResponse, answer: unknown): void => {
  if (answer === undefined) {
    response.writeHead(200, { 'content-length': 0 });
    response.end();
    return;
  }
  const text = JSON.stringify(answer);
  response.writeHead(200, {
    'content-type': 'application/hal+json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
};

const sendText = (response: ServerResponse, text: string): void => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': text.length });
  response.end(text);
};

/** Of an answer with ranges: it has the last byte. Clients that read a piece here and there are still loading. */
const isToTheEnd = (response: ServerResponse): boolean => {
  if (response.statusCode === 200) return true;
  const range = /^bytes \d+-(\d+)\/(\d+)$/.exec(String(response.getHeader('content-range')));
  return range !== null && Number(range[1]) + 1 === Number(range[2]);
};

/** Whatever may go better later is told as such in the one way that these clients understand. */
const retryable = (error: unknown): unknown => {
  if (!isHoldfastError(error) || !error.isRetryable || error.code === 'TOO_MANY_ATTEMPTS') {
    return error;
  }
  return new HoldfastError('TOO_MANY_REQUESTS', error.message, {
    cause: error,
    data: { retryAfterMs: 10_000, ...error.data },
  });
};
