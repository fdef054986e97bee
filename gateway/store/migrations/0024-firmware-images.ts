/** What the images in the firmware cache are, and who pinned which. */
export const firmwareImages = {
  name: '0024-firmware-images',
  sql: `
CREATE TABLE firmware_images (
  sha256 TEXT PRIMARY KEY,
  body TEXT NOT NULL,
  pinned_by TEXT,
  pinned_at INTEGER
) STRICT, WITHOUT ROWID;
`,
};
