/**
 * A gRPC service as a set of async functions: every one gets a parsed request and a call, returns its answer or throws a HoldfastError.
 * Who asks, how long it may take and what an error looks like on the wire is decided here, once for all services.
 */

import { type EventEmitter, once } from 'node:events';
import type {
  MethodDefinition,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Caller } from './caller.js';
import { statusOf } from './status.js';

/** One request under way. */
export interface Call {
  /** Who asks; undefined for the methods that are open to anybody. */
  readonly caller: Caller | undefined;
  /** Aborts when the caller went away or its time is over. */
  readonly signal: AbortSignal;
}

type RequestOf<M> = M extends { requestDeserialize: (bytes: Buffer) => infer R } ? R : never;
type ResponseOf<M> = M extends { responseDeserialize: (bytes: Buffer) => infer R } ? R : never;

/** The function behind a method of a generated service. */
export type Handler<M> = M extends { requestStream: true; responseStream: true }
  ? never
  : M extends { requestStream: true }
    ? (requests: AsyncIterable<RequestOf<M>>, call: Call) => Promise<ResponseOf<M>>
    : M extends { responseStream: true }
      ? (request: RequestOf<M>, call: Call) => AsyncIterable<ResponseOf<M>>
      : (request: RequestOf<M>, call: Call) => Promise<ResponseOf<M>>;

export type Handlers<S> = { readonly [K in keyof S]: Handler<S[K]> };

/** A service, ready to be served by `openApiServer`. */
export interface ApiService {
  readonly definition: ServiceDefinition;
  readonly handlers: ReadonlyMap<string, AnyHandler>;
  /** Methods that nobody has to show a token for: they bring their own secret. */
  readonly open: ReadonlySet<string>;
}

type AnyHandler = (request: unknown, call: Call) => unknown;

/** Names a service's handlers: `apiService(SitesService, {...}, { open: ['enrollGateway'] })`. */
export const apiService = <S extends ServiceDefinition>(
  definition: S,
  handlers: Handlers<S>,
  { open = [] }: { readonly open?: readonly (keyof S & string)[] } = {},
): ApiService => ({
  definition,
  // Each handler fits its method by the type above; what comes in is what the method's own deserializer made.
  handlers: new Map(Object.entries(handlers) as [string, AnyHandler][]),
  open: new Set(open),
});

export interface ServingDependencies {
  /** Errors: NOT_AUTHENTICATED. */
  readonly authenticate: (authorization: string | undefined) => Promise<Caller>;
  readonly log: { error(data: object, message: string): void };
}

/** How long a call without streams may take, whatever deadline its caller set. */
const unaryTimeoutMs = 60_000;

type AnyCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerReadableStream<unknown, unknown>
  | ServerWritableStream<unknown, unknown>;

/** What grpc-js serves. */
export const implementationOf = (
  service: ApiService,
  deps: ServingDependencies,
): UntypedServiceImplementation => {
  const implementation: Record<string, UntypedHandleCall> = {};
  for (const [name, method] of Object.entries(service.definition)) {
    const handler = service.handlers.get(name);
    if (handler === undefined) throw new TypeError(`${method.path} has no handler`);
    implementation[name] = serve(method, handler, service.open.has(name), deps);
  }
  return implementation;
};

const serve = (
  method: MethodDefinition<unknown, unknown>,
  handler: AnyHandler,
  isOpen: boolean,
  deps: ServingDependencies,
): UntypedHandleCall => {
  const prepare = async (call: AnyCall, timeoutMs?: number): Promise<Call> => ({
    caller: isOpen ? undefined : await deps.authenticate(authorizationOf(call)),
    signal: signalOf(call, timeoutMs),
  });
  const fail = (error: unknown) => statusOf(error, (cause) => report(method, cause, deps));
  if (method.responseStream) {
    return ((call: ServerWritableStream<unknown, unknown>) => {
      prepare(call)
        .then((prepared) =>
          send(call, handler(call.request, prepared) as AsyncIterable<unknown>, prepared.signal),
        )
        .then(
          () => call.end(),
          (error: unknown) => call.emit('error', fail(error)),
        );
    }) as unknown as UntypedHandleCall;
  }
  return ((
    call: ServerUnaryCall<unknown, unknown> | ServerReadableStream<unknown, unknown>,
    callback: sendUnaryData<unknown>,
  ) => {
    const isUnary = 'request' in call;
    prepare(call, isUnary ? unaryTimeoutMs : undefined)
      .then((prepared) => withinSignal(handler(isUnary ? call.request : call, prepared), prepared))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback(fail(error)),
      );
  }) as unknown as UntypedHandleCall;
};

/** Work that does not look at its signal is no reason to keep the caller waiting. */
const withinSignal = async (work: unknown, { signal }: Call): Promise<unknown> => {
  let onAbort: (() => void) | undefined;
  const ended = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
};

const send = async (
  call: ServerWritableStream<unknown, unknown>,
  responses: AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<void> => {
  for await (const response of responses) {
    signal.throwIfAborted();
    if (!call.write(response)) await once(call, 'drain', { signal });
  }
};

const signalOf = (call: AnyCall, timeoutMs: number | undefined): AbortSignal => {
  const controller = new AbortController();
  const emitter: EventEmitter = call;
  const onCancelled = () =>
    controller.abort(new HoldfastError('DEADLINE_EXCEEDED', 'The caller waits no longer'));
  // It may have gone while its token was looked up.
  if (call.cancelled) onCancelled();
  else emitter.once('cancelled', onCancelled);
  const deadline = call.getDeadline();
  const leftMs = (deadline instanceof Date ? deadline.getTime() : deadline) - Date.now();
  const limitMs = Math.min(leftMs, timeoutMs ?? Number.POSITIVE_INFINITY);
  if (limitMs < longestTimerMs) {
    const timer = setTimeout(
      () => controller.abort(new HoldfastError('DEADLINE_EXCEEDED', 'The request took too long')),
      Math.max(0, limitMs),
    );
    timer.unref();
  }
  return controller.signal;
};

const longestTimerMs = 2 ** 31 - 1;

const authorizationOf = ({ metadata }: AnyCall): string | undefined => {
  const [value] = metadata.get('authorization');
  return typeof value === 'string' ? value : undefined;
};

const report = (
  { path }: MethodDefinition<unknown, unknown>,
  error: unknown,
  { log }: ServingDependencies,
): void => log.error({ err: error, method: path }, 'a request failed through a mistake of ours');
