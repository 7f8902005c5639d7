-- People, what they carry, and the versions of the rules. Moments are microseconds since 1970 UTC. `gone` is set when
-- somebody is removed: it can be undone for a day, then the row goes. `folded` is what a search looks into.
CREATE TABLE person (
    name    TEXT PRIMARY KEY,
    title   TEXT NOT NULL,
    note    TEXT NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    gone    INTEGER,
    folded  TEXT NOT NULL,
    changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE person_group (
    person TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    PRIMARY KEY (person, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX person_group_name ON person_group (name);

-- `stored` is a kind and a salted digest, never the card or PIN itself; `label` what may be shown of it.
CREATE TABLE person_key (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    person  TEXT NOT NULL REFERENCES person (name) ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('card', 'pin', 'plate')),
    stored  TEXT NOT NULL UNIQUE,
    label   TEXT NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    added   INTEGER NOT NULL
) STRICT;
CREATE INDEX person_key_person ON person_key (person);

-- What the rules were, newest last: each was in force from `at` until the next.
CREATE TABLE rule_version (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    at   INTEGER NOT NULL,
    by   TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
