import t from 'tap';
import { holderOf } from '../../trust/rights.js';
import { campaignBody, firmwareBody, openTestSite } from '../../updates/updates-fixture.js';
import { campaignRoutes } from './campaign-routes.js';
import { findRoute } from './routes.js';

t.test(
  'shows what campaigns wait for, and pauses, resumes and stops them for a technician',
  async (t) => {
    const site = await openTestSite(t);
    site.firmware.come(firmwareBody());
    site.plan.set({ c: campaignBody() });
    const life = await site.start();
    life.devices.connected('a', 'a', { model: 'pi', firmwareVersion: '1' });
    await life.updates.settled();
    const routes = campaignRoutes({ updates: life.updates, fence: { check: () => undefined } });
    const ask = async (method: string, path: string, body: unknown = {}) => {
      const { route, params, query } = findRoute(routes, { method, url: `/api/v1${path}` });
      if (method !== 'GET') t.equal(holderOf(route.right), 'technician', `${method} ${path}`);
      const who = { kind: 'person', user: 'ann', role: 'technician' } as const;
      // No route of these looks at the request itself.
      return route.handle({ params, query, body, who } as never);
    };
    t.match(await ask('GET', '/campaigns'), {
      campaigns: [{ campaign: 'c', kind: 'update', phase: 0, executions: { offered: 1 } }],
    });
    t.match(await ask('POST', '/campaigns/c/pause', { reason: 'odd' }), {
      paused: { by: /ann/, reason: 'odd' },
      waits_for: { code: 'paused' },
      executions: { queued: 1 },
    });
    t.match(await ask('GET', '/campaigns/c/executions'), {
      executions: [{ device: 'a', status: 'queued', waits_for: /ann paused it, odd/ }],
    });
    t.match(await ask('POST', '/campaigns/c/resume'), { paused: null, executions: { offered: 1 } });
    t.match(await ask('POST', '/emergency-stop', { reason: 'smoke' }), {
      stops: [{ of: 'site', by: /ann/, reason: 'smoke' }],
    });
    t.match(await ask('GET', '/campaigns/c'), { waits_for: { code: 'emergency_stop' } });
    t.same(await ask('DELETE', '/emergency-stop?reason=over'), { stops: [] });
    await t.rejects(ask('POST', '/campaigns/none/pause'), { code: 'RESOURCE_NOT_FOUND' });
    await t.rejects(ask('POST', '/campaigns/c/pause', { reason: 'x'.repeat(501) }), {
      code: 'REQUEST_INVALID',
    });
  },
);
