/** The order in which the site CA issued certificates, which no clock says: a gateway that lost its time dates them back. */
export const certificateTurns = {
  name: '0017-certificate-turns',
  sql: `
ALTER TABLE device_certificates ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
UPDATE device_certificates SET turn = ranked.turn FROM (
  SELECT serial, row_number() OVER (ORDER BY issued_at, serial) AS turn FROM device_certificates
) AS ranked WHERE ranked.serial = device_certificates.serial;
CREATE UNIQUE INDEX device_certificates_by_turn ON device_certificates (turn);
DROP INDEX device_certificates_by_use;
CREATE INDEX device_certificates_by_use ON device_certificates (device_id, turn) WHERE first_used_at IS NOT NULL;
`,
};
