import t from 'tap';
import { siteMigrations } from './site-migrations.js';

t.test(
  'every step carries the number of its place, so that no two areas take the same',
  async (t) => {
    for (const { version, name } of siteMigrations) {
      t.match(name, new RegExp(`^${String(version).padStart(4, '0')}-[a-z-]+$`));
    }
  },
);
