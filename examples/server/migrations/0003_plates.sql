-- The plates somebody wrote down. `plate` is upper-case Latin without separators; `folded` what a search looks into;
-- the period is microseconds since 1970 UTC, its end exclusive.
CREATE TABLE plate (
    plate    TEXT PRIMARY KEY,
    owner    TEXT NOT NULL,
    note     TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('allow', 'watch')),
    since    INTEGER,
    until    INTEGER,
    folded   TEXT NOT NULL,
    changed  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
