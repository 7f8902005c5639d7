-- What analyses saw. `at` is microseconds since 1970 UTC; `subject` a plate or a person, never the text of a code;
-- the region is in thousandths of the picture. AUTOINCREMENT: an id is never used twice, even when rows are removed.
CREATE TABLE sighting (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    camera     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    subject    TEXT,
    owner      TEXT,
    standing   TEXT,
    near       TEXT,
    score      INTEGER NOT NULL,
    region     INTEGER NOT NULL,
    crop_bytes INTEGER NOT NULL
) STRICT;
-- SQLite appends the id to each: a page is read backwards along one of them, and the oldest is its first row.
CREATE INDEX sighting_at ON sighting (at);
CREATE INDEX sighting_camera ON sighting (camera, at);
CREATE INDEX sighting_kind ON sighting (kind, at);

-- Apart from the rows, so that a list never reads pictures.
CREATE TABLE sighting_crop (
    sighting INTEGER PRIMARY KEY REFERENCES sighting (id) ON DELETE CASCADE,
    jpeg     BLOB NOT NULL
) STRICT;
