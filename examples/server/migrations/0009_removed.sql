-- Names of people whose removal cannot be undone any more. The persons document brings none of them back while it lists them
-- still; the name is free again once the document names it no more, or somebody adds it by hand.
CREATE TABLE person_removed (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
