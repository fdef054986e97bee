import { isShadowName } from './device-id.js';

/** What follows `…/shadow/` in every set of topics that shadows have. `name` is absent for the classic shadow. */
export type ShadowTopic = ShadowRequestTopic | ShadowDownTopic;

/** What a device publishes. */
export type ShadowRequestTopic = {
  readonly kind: 'shadow_request';
  readonly operation: ShadowOperationName;
} & ShadowOf;

/** What a gateway publishes to a device. */
export type ShadowDownTopic =
  | ({
      readonly kind: 'shadow_answer';
      readonly operation: ShadowOperationName;
      readonly outcome: Outcome;
    } & ShadowOf)
  | ({ readonly kind: 'shadow_documents' } & ShadowOf)
  /** `update` is `…/shadow/update/delta`, `short` is `…/shadow/delta`, which the native set alone has. */
  | ({ readonly kind: 'shadow_delta'; readonly form: 'short' | 'update' } & ShadowOf);

export type ShadowOperationName = 'get' | 'update' | 'delete';
export type Outcome = 'accepted' | 'rejected';

export interface ShadowOf {
  readonly device: string;
  readonly name?: string;
}

/** `rest` is what follows `shadow/`. */
export const parseShadow = (rest: string, device: string): ShadowTopic | undefined => {
  if (!rest.startsWith('name/')) return parseShadowVerb(rest, { device });
  const end = rest.indexOf('/', 5);
  if (end < 0) return undefined;
  const name = rest.slice(5, end);
  return isShadowName(name) ? parseShadowVerb(rest.slice(end + 1), { device, name }) : undefined;
};

/** What `parseShadow` reads. */
export const shadowRest = (topic: ShadowTopic): string =>
  topic.name === undefined ? verbOf(topic) : `name/${topic.name}/${verbOf(topic)}`;

const verbOf = (topic: ShadowTopic): string => {
  switch (topic.kind) {
    case 'shadow_request':
      return topic.operation;
    case 'shadow_answer':
      return `${topic.operation}/${topic.outcome}`;
    case 'shadow_documents':
      return 'update/documents';
    case 'shadow_delta':
      return topic.form === 'short' ? 'delta' : 'update/delta';
  }
};

const parseShadowVerb = (verb: string, of: ShadowOf): ShadowTopic | undefined => {
  switch (verb) {
    case 'get':
    case 'update':
    case 'delete':
      return { kind: 'shadow_request', operation: verb, ...of };
    case 'get/accepted':
    case 'get/rejected':
    case 'update/accepted':
    case 'update/rejected':
    case 'delete/accepted':
    case 'delete/rejected': {
      const [operation, outcome] = verb.split('/') as [ShadowOperationName, Outcome]; // the cases above
      return { kind: 'shadow_answer', operation, outcome, ...of };
    }
    case 'update/documents':
      return { kind: 'shadow_documents', ...of };
    case 'update/delta':
      return { kind: 'shadow_delta', form: 'update', ...of };
    case 'delta':
      return { kind: 'shadow_delta', form: 'short', ...of };
    default:
      return undefined;
  }
};
