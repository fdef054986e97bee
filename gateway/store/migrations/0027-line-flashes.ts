/** How the flashing of each microcontroller on a serial line stands, and what is known to stand in it: `state` is that of the flash machine. */
export const lineFlashes = {
  name: '0027-line-flashes',
  sql: `
CREATE TABLE line_flashes (
  device TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
};
