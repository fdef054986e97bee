/** The plan's part of one connection: heads and documents in, what is wanted and what came of it out. */
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import type { Document, GatewayMessage } from '@holdfast/protos/gen/holdfast/v1/link';
import type { Plan, PlanOutcome } from './plan.js';

export type PlanMessage =
  | { readonly kind: 'head'; readonly jws: string }
  | { readonly kind: 'documents'; readonly documents: readonly Document[] };

/** Bytes of one document at most, once inflated. */
const maxDocumentBytes = 4 * 1024 * 1024;

const inflate = promisify(inflateRaw);

export class PlanExchange {
  readonly #plan: Plan;
  readonly #send: (message: GatewayMessage['message']) => void;
  /** Asked for on this connection; asking again would bring everything twice. */
  #asked = new Set<string>();

  constructor(plan: Plan, send: (message: GatewayMessage['message']) => void) {
    this.#plan = plan;
    this.#send = send;
  }

  async receive(message: PlanMessage): Promise<void> {
    if (message.kind === 'head') {
      this.#asked = new Set();
      this.#answer(await this.#plan.receiveHead(message.jws));
      return;
    }
    const contents: Uint8Array[] = [];
    for (const { content } of message.documents) {
      contents.push(await inflate(content, { maxOutputLength: maxDocumentBytes }));
    }
    this.#answer(await this.#plan.receiveDocuments(contents));
  }

  #answer(outcome: PlanOutcome): void {
    switch (outcome.kind) {
      case 'ignored':
        return;
      case 'wanting': {
        const news = outcome.sha256.filter((sha) => !this.#asked.has(sha));
        for (const sha of news) this.#asked.add(sha);
        if (news.length === 0) return;
        const sha256 = news.map((sha) => Buffer.from(sha, 'hex'));
        this.#send({ $case: 'documentsWanted', value: { sha256 } });
        return;
      }
      case 'applied':
      case 'refused':
        this.#send({
          $case: 'planApplied',
          value: {
            generation: BigInt(outcome.generation),
            revision: BigInt(outcome.revision),
            refusedCode: outcome.kind === 'refused' ? outcome.code : '',
            refusedMessage: outcome.kind === 'refused' ? outcome.message : '',
          },
        });
    }
  }
}
