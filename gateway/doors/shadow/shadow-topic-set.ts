import { buildAwsShadowTopic } from '@holdfast/protos/mqtt/aws-topics';
import type { ShadowDownTopic } from '@holdfast/protos/mqtt/shadow-topics';
import { buildTopic } from '@holdfast/protos/mqtt/topics';

/** A set of topics that shadows are served on: what is said on them is the same on all. */
export interface ShadowTopicSet {
  /** Names it in what is stored of whoever waits for an answer. */
  readonly door: 'native' | 'aws';
  readonly deltaForms: readonly ('update' | 'short')[];
  build(topic: ShadowDownTopic): string;
}

export const nativeShadowTopics: ShadowTopicSet = {
  door: 'native',
  deltaForms: ['update', 'short'],
  build: buildTopic,
};

export const awsShadowTopics: ShadowTopicSet = {
  door: 'aws',
  deltaForms: ['update'],
  build: buildAwsShadowTopic,
};

export const shadowTopicSets: readonly ShadowTopicSet[] = [nativeShadowTopics, awsShadowTopics];
