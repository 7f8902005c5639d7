-- A second PIN for whoever is made to open. A check cannot be changed in place; ids are still never used twice.
CREATE TABLE person_key_next (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    person  TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('card', 'pin', 'duress_pin', 'plate')),
    stored  TEXT NOT NULL UNIQUE,
    label   TEXT NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    added   INTEGER NOT NULL
) STRICT;
INSERT INTO person_key_next SELECT id, person, kind, stored, label, revoked, added FROM person_key;
DELETE FROM sqlite_sequence WHERE name = 'person_key_next';
INSERT INTO sqlite_sequence (name, seq) SELECT 'person_key_next', seq FROM sqlite_sequence WHERE name = 'person_key';
DROP TABLE person_key;
ALTER TABLE person_key_next RENAME TO person_key;
CREATE INDEX person_key_person ON person_key (person);
