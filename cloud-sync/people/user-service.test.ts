import { hashPassword } from '@holdfast/provisioning/pki/password-hash';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';

const userOf = (role: string, passwordHash: string, name = '', etag = '') => ({
  name,
  role,
  passwordHash,
  createTime: undefined,
  updateTime: undefined,
  etag,
});

const createSite = (cloud: CloudUnderTest, siteId: string) =>
  cloud.call(cloud.sites, cloud.sites.createSite, { siteId, site: undefined });

t.test(
  'users are made, listed, changed and removed, and their hashes told to nobody',
  async (t) => {
    const cloud = await cloudUnderTest(t);
    const { users } = cloud;
    for (const site of ['a', 'b']) await createSite(cloud, site);
    const hash = await hashPassword('correct horse');
    const create = (site: string, userId: string, user = userOf('technician', hash)) =>
      cloud.call(users, users.createUser, { parent: `sites/${site}`, userId, user });
    const list = async (site: string) =>
      (
        await cloud.call(users, users.listUsers, {
          parent: `sites/${site}`,
          pageSize: 0,
          pageToken: '',
        })
      ).users;

    const anna = await create('a', 'anna');
    t.match(anna, { name: 'sites/a/users/anna', role: 'technician', passwordHash: '', etag: '1' });
    await create('b', 'anna', userOf('viewer', hash));
    await create('a', 'bert');
    t.same(
      (await list('-')).map(({ name, passwordHash }) => [name, passwordHash]),
      [
        ['sites/a/users/anna', ''],
        ['sites/a/users/bert', ''],
        ['sites/b/users/anna', ''],
      ],
    );
    await t.rejects(create('a', 'anna'), { code: 'RESOURCE_EXISTS' });
    await t.rejects(create('none', 'anna'), { code: 'RESOURCE_NOT_FOUND' });
    for (const [name, user] of [
      ['operator', userOf('viewer', hash)],
      ['Anna', userOf('viewer', hash)],
      ['carl', userOf('root', hash)],
      ['carl', userOf('viewer', 'correct horse')],
      ['carl', userOf('viewer', '')],
    ] as const) {
      await t.rejects(create('a', name, user), { code: 'REQUEST_INVALID' });
    }

    const update = (user: ReturnType<typeof userOf>, updateMask?: string[]) =>
      cloud.call(users, users.updateUser, { user, updateMask });
    const changed = await update(userOf('installer', '', anna.name, '1'), ['role']);
    t.match(changed, { role: 'installer', etag: '2' });
    await t.rejects(update(userOf('viewer', '', anna.name, '1'), ['role']), {
      code: 'RESOURCE_CONFLICT',
    });
    await t.rejects(update(userOf('viewer', '', anna.name), ['name']), { code: 'REQUEST_INVALID' });
    await cloud.call(users, users.deleteUser, { name: anna.name, etag: '2' });
    await t.rejects(cloud.call(users, users.getUser, { name: anna.name }), {
      code: 'RESOURCE_NOT_FOUND',
    });
    t.equal((await list('a')).length, 1);
    await t.rejects(
      cloud.call(
        users,
        users.listUsers,
        { parent: 'sites/a', pageSize: 0, pageToken: '' },
        { token: '' },
      ),
      { code: 'NOT_AUTHENTICATED' },
    );
  },
);
