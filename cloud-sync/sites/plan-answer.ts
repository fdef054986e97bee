/** What a site answers to a plan: told on the link at once, and in its journal for good. */
import type { WriteTransaction } from '../store/sql-engine.js';

export interface PlanAnswer {
  readonly generation: number;
  readonly revision: number;
  /** Absent when it was applied. */
  readonly refused?: { readonly code: string; readonly message: string };
}

/** Notes an answer, unless a later one is known: the two ways it comes are not ordered among each other. */
export const recordPlanAnswer = async (
  { db }: WriteTransaction,
  site: string,
  { generation, revision, refused }: PlanAnswer,
): Promise<void> => {
  if (refused !== undefined) {
    await db
      .updateTable('plans')
      .set({ refused_code: refused.code, refused_message: refused.message })
      .where('site_id', '=', site)
      .where('generation', '=', generation)
      .where('revision', '=', revision)
      .execute();
    return;
  }
  await db
    .updateTable('plans')
    .set({
      applied_generation: generation,
      applied_revision: revision,
      refused_code: null,
      refused_message: null,
    })
    .where('site_id', '=', site)
    .where((eb) =>
      eb.or([
        eb('applied_generation', '<', generation),
        eb.and([eb('applied_generation', '=', generation), eb('applied_revision', '<', revision)]),
      ]),
    )
    .execute();
};
