-- The keys that sign guests' passes: when each signs, and whether it was withdrawn. Ids are never used twice, so rows stay.
-- The secret halves are in the secret store alone. Moments are microseconds since 1970 UTC.
CREATE TABLE pass_key (
    id           INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 255),
    public       TEXT NOT NULL,
    signs_from   INTEGER NOT NULL,
    signs_until  INTEGER,
    made_by      TEXT NOT NULL,
    withdrawn    INTEGER,
    withdrawn_by TEXT,
    reason       TEXT
) STRICT;
