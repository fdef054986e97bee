/** The documents that campaigns put into a site's plan: the campaigns that are started and not over, and the firmware they install. */
import { deltasOf } from '../firmware/firmware-deltas.js';
import { firmwarePath } from '../firmware/firmware-library.js';
import { metadataDocuments } from '../firmware/firmware-metadata.js';
import type { PlanContent, PlanDocumentProvider } from '../sites/plan-documents.js';
import { readPhaseRows } from './campaign-gates.js';
import { campaignBodyOf } from './campaign-messages.js';
import { plannedStates } from './campaign-records.js';
import { imagesOfRow } from './campaign-row.js';
import { targetAtSite } from './campaign-targets.js';

export const campaignDocuments: PlanDocumentProvider = async (db, site) => {
  const campaigns = await db
    .selectFrom('campaigns')
    .innerJoin('campaign_sites', 'campaign_sites.campaign_id', 'campaigns.campaign_id')
    .selectAll('campaigns')
    .where('campaign_sites.site_id', '=', site)
    .where('campaigns.state', 'in', plannedStates)
    .execute();
  const wanted = [...new Set(campaigns.flatMap(imagesOfRow))];
  const firmware =
    wanted.length === 0
      ? []
      : await db.selectFrom('firmware').selectAll().where('firmware_id', 'in', wanted).execute();
  const deltas = await deltasOf(db, wanted);
  const documents: PlanContent[] = [];
  for (const row of campaigns) {
    const phases = await readPhaseRows(db, row.campaign_id);
    const body = campaignBodyOf(row, phases, await targetAtSite(db, row, site));
    documents.push({ kind: 'campaign', id: row.campaign_id, body });
  }
  return [
    ...documents,
    ...firmware.map(
      ({ firmware_id, model, version, sha256, size_bytes, file_name, target }): PlanContent => ({
        kind: 'firmware',
        id: firmware_id,
        body: {
          model,
          version,
          sha256,
          size_bytes,
          file_name,
          path: firmwarePath(sha256),
          deltas: deltas.get(firmware_id) ?? [],
          ...(target === '' ? {} : { target }),
        },
      }),
    ),
    ...(await metadataDocuments(
      db,
      firmware.map(({ target }) => target).filter((target) => target !== ''),
    )),
  ];
};
