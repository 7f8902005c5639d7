-- The journal. `at` is microseconds since 1970 UTC; `level` 0 info, 1 warning, 2 error, 3 security; `fields` a JSON
-- array of [name, value]. AUTOINCREMENT: an id is never used twice, even when rows are removed.
CREATE TABLE service (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE journal (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    service INTEGER NOT NULL REFERENCES service (id),
    level   INTEGER NOT NULL,
    code    TEXT NOT NULL,
    text    TEXT NOT NULL,
    fields  TEXT NOT NULL
) STRICT;
-- SQLite appends the id to both: a page of a service or level is read backwards along its index.
CREATE INDEX journal_service ON journal (service, level);
CREATE INDEX journal_level ON journal (level);

-- Which ids an hour holds: turns a period into a range of ids, and stays right when the clock is set back.
CREATE TABLE journal_hour (
    hour    INTEGER PRIMARY KEY,
    id_min  INTEGER NOT NULL,
    id_max  INTEGER NOT NULL,
    entries INTEGER NOT NULL
) STRICT;

CREATE TABLE user (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    created       INTEGER NOT NULL,
    disabled      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A session is known by the SHA-256 of its token: a copy of the database signs nobody in.
CREATE TABLE session (
    token_sha256 BLOB PRIMARY KEY,
    user         INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    created      INTEGER NOT NULL,
    seen         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user);

CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- XChaCha20-Poly1305, sealed to its own name.
CREATE TABLE secret (
    name   TEXT PRIMARY KEY,
    nonce  BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
