/** A site in tests of the control plane: its gateway is connected, reports what the test says, and reads its plan. */
import { inflateRawSync } from 'node:zlib';
import type { CloudUnderTest, Test } from './cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from './gateway-stand-in.js';

type Entry = Parameters<StandInLog['batch']>[0][number];

/** The plan's documents by kind and id. */
export type PlanUnderTest = ReadonlyMap<string, { readonly body: Record<string, unknown> }>;

/** Creates the site, or replaces its gateway, and connects. */
export const connectSite = async (
  t: Test,
  cloud: CloudUnderTest,
  site: string,
  { replace = false, epoch = 1n }: { replace?: boolean; epoch?: bigint } = {},
) => {
  const gateway = await enrolStandIn(cloud, site, { replace });
  const state = new StandInLog('state');
  const audit = new StandInLog('audit');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ journal: [state.position, audit.position], epoch });
  await link.next('welcome');
  const say = async (log: StandInLog, entries: readonly Entry[]) => {
    link.say({ $case: 'journal', value: await log.batch(entries) });
    await link.next('journalCommitted');
  };
  /** By digest, as a gateway keeps them: one that is replaced while it is asked for does not come. */
  const held = new Map<string, { kind: string; id: string; body: Record<string, unknown> }>();
  const plan = async (): Promise<PlanUnderTest> => {
    for (;;) {
      let { jws } = await link.next('planHead');
      while (link.has('planHead')) ({ jws } = await link.next('planHead'));
      const head = JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString());
      const wanted: { sha256: string }[] = head.documents;
      const isHeld = () => wanted.every(({ sha256 }) => held.has(sha256));
      const sha256 = wanted.map((document) => document.sha256).filter((hash) => !held.has(hash));
      const hashes = sha256.map((hash) => Buffer.from(hash, 'hex'));
      if (hashes.length > 0) link.say({ $case: 'documentsWanted', value: { sha256: hashes } });
      while (!isHeld() && !link.has('planHead')) {
        await link.arrived(['documents', 'planHead']);
        while (link.has('documents')) {
          for (const { sha256, content } of (await link.next('documents')).documents) {
            held.set(
              Buffer.from(sha256).toString('hex'),
              JSON.parse(inflateRawSync(content).toString()),
            );
          }
        }
      }
      if (!isHeld()) continue;
      const documents = wanted
        .map(({ sha256 }) => held.get(sha256))
        .filter((one) => one !== undefined);
      return new Map(documents.map((document) => [`${document.kind}/${document.id}`, document]));
    }
  };
  return {
    gateway,
    link,
    /** Entries of the lane `state`. */
    report: (...entries: Entry[]) => say(state, entries),
    /** Entries of the lane `audit`. */
    note: (...entries: Entry[]) => say(audit, entries),
    /** The next plan that is published. */
    plan,
    /** The first of the next plans that is like that: changes that come together may be published together. */
    planWith: async (isIt: (plan: PlanUnderTest) => boolean): Promise<PlanUnderTest> => {
      for (;;) {
        const next = await plan();
        if (isIt(next)) return next;
      }
    },
  };
};

export type SiteStandIn = Awaited<ReturnType<typeof connectSite>>;
