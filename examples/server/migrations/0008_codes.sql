-- Whose rolling codes are accepted. A code's secret and its link are made of a secret of the site, the person and the
-- generation, which is never used twice: another generation withdraws all codes and links of the one before. `reference` is
-- what a code says instead of the name.
CREATE TABLE rolling_code (
    generation INTEGER PRIMARY KEY AUTOINCREMENT,
    person     TEXT NOT NULL UNIQUE REFERENCES person (name) ON DELETE CASCADE,
    reference  TEXT NOT NULL UNIQUE
) STRICT;
