/** Where each device's life stands. `heard_at` is when it was last heard by a clock that was trusted. Times are epoch ms. */
export const lifecycle = {
  name: '0013-lifecycle',
  sql: `
ALTER TABLE devices ADD COLUMN lifecycle TEXT NOT NULL DEFAULT 'active';
ALTER TABLE devices ADD COLUMN lifecycle_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN lifecycle_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN lifecycle_actor TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN decided_wall INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN decided_counter INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN heard_at INTEGER;
`,
};
