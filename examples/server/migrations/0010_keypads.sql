-- The links of keypads on a page. What stands in a link is made of a secret of the site, the reader and the generation, which
-- is never used twice: another generation is another link. `reference` is what a link says instead of the reader's name.
CREATE TABLE keypad_link (
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    reader     TEXT NOT NULL UNIQUE,
    reference  TEXT NOT NULL UNIQUE,
    made       INTEGER NOT NULL,
    made_by    TEXT NOT NULL
) STRICT;
