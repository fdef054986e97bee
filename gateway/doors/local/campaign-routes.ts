/** The local API for campaigns: how they stand at this site and what they wait for, pausing them here, and the stop of every update. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import type { CampaignStanding } from '../../updates/campaign-standing.js';
import { viewOf } from '../../updates/device-executions.js';
import type { Updates } from '../../updates/updates.js';
import { actorOf } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';

export interface CampaignRoutesDeps {
  readonly updates: Pick<Updates, 'campaigns' | 'executions' | 'controls'>;
  readonly fence: { check(): void };
}

const reason = v.optional(v.pipe(v.string(), v.trim(), v.maxLength(500)), '');
const reasoned = v.strictObject({ reason });

export const campaignRoutes = ({ updates, fence }: CampaignRoutesDeps): readonly Route[] => {
  const standingAt = ({ params }: RouteRequest): CampaignStanding => {
    const id = params.get('campaign') ?? '';
    const standing = updates.controls.standing(id);
    if (standing !== undefined) return standing;
    throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no campaign ${id} at this site`, {
      data: { next: 'holdfast --gateway campaign list' },
    });
  };

  const listExecutions = async (request: RouteRequest): Promise<object> => {
    const { campaign } = standingAt(request);
    const executions = await updates.executions(campaign.id);
    return {
      executions: executions.map(([device, execution]) => ({
        device,
        status: execution.status,
        attempt: execution.attempt,
        progress: execution.progress,
        from_version: execution.fromVersion,
        to_version: execution.toVersion,
        error: execution.error,
        door: execution.door,
        number: viewOf(campaign, device, execution).number,
        phase: updates.controls.phaseOf(campaign.id, device),
        details: execution.details,
        waits_for: updates.controls.whyWaits(campaign.id, device) ?? null,
        updated_at: execution.updatedAt,
      })),
    };
  };

  const read = (path: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path: `/api/v1${path}`,
    right: 'site.read',
    handle,
  });
  const control = (
    method: 'POST' | 'DELETE',
    path: string,
    handle: (request: RouteRequest) => Promise<object>,
  ): Route => ({
    method,
    path: `/api/v1${path}`,
    right: path === '/emergency-stop' ? 'updates.stop' : 'campaign.control',
    handle: (request) => {
      fence.check();
      return handle(request);
    },
  });
  const stops = async (): Promise<object> => ({ stops: updates.controls.emergencyStops() });

  return [
    read('/campaigns', async () => ({
      campaigns: updates
        .campaigns()
        .flatMap(({ id }) => updates.controls.standing(id) ?? [])
        .map(campaignView),
    })),
    read('/campaigns/:campaign', async (request) => campaignView(standingAt(request))),
    read('/campaigns/:campaign/executions', listExecutions),
    control('POST', '/campaigns/:campaign/pause', async (request) => {
      const { id } = standingAt(request).campaign;
      await updates.controls.pause(
        id,
        actorOf(request.who),
        parseBody(reasoned, request.body).reason,
      );
      return campaignView(standingAt(request));
    }),
    control('POST', '/campaigns/:campaign/resume', async (request) => {
      await updates.controls.resume(standingAt(request).campaign.id, actorOf(request.who));
      return campaignView(standingAt(request));
    }),
    read('/emergency-stop', stops),
    control('POST', '/emergency-stop', async ({ body, who }) => {
      await updates.controls.stopAll(actorOf(who), parseBody(reasoned, body).reason);
      return stops();
    }),
    control('DELETE', '/emergency-stop', async ({ query, who }) => {
      const { reason: why } = parseBody(reasoned, { reason: query.get('reason') ?? '' });
      await updates.controls.liftStop(actorOf(who), why);
      return stops();
    }),
  ];
};

const campaignView = (standing: CampaignStanding): object => {
  const { campaign, phase, paused, waits, counts, countsByPhase } = standing;
  const { body, images } = campaign;
  return {
    campaign: campaign.id,
    state: body.state,
    kind: body.document === null ? 'update' : 'job',
    model: [...new Set(images.map(({ model }) => model))].join(', '),
    version: [...new Set(images.map(({ version }) => version))].join(', '),
    phase,
    paused,
    waits_for: waits,
    executions: counts,
    phases: body.phases.map(({ percent }, i) => ({ percent, executions: countsByPhase[i] ?? {} })),
    is_settled: standing.isSettled,
  };
};
