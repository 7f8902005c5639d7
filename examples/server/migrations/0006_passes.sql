-- Guests' passes: what each says and who made it. The text is never kept: it is made anew of this and the key. Moments of a
-- pass are whole seconds since 1970 UTC, others microseconds. `doors` is `any`, `group:NAME` or names with blanks between.
CREATE TABLE pass (
    serial       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    key          INTEGER NOT NULL,
    person       TEXT,
    doors        TEXT NOT NULL,
    not_before   INTEGER NOT NULL,
    not_after    INTEGER NOT NULL,
    uses         INTEGER,
    made         INTEGER NOT NULL,
    made_by      TEXT NOT NULL,
    withdrawn    INTEGER,
    withdrawn_by TEXT,
    reason       TEXT
) STRICT;
CREATE INDEX pass_withdrawn ON pass (not_after) WHERE withdrawn IS NOT NULL;
