-- Who is reached by Telegram, and what they are told.
CREATE TABLE telegram_binding (
    person  TEXT PRIMARY KEY REFERENCES person (name) ON DELETE CASCADE,
    chat    INTEGER NOT NULL UNIQUE,
    account TEXT NOT NULL,
    notices TEXT NOT NULL,
    bound   INTEGER NOT NULL
) STRICT;
-- Codes that bind a chat to a person, once. Only a MAC of a code is kept; `selector` finds it, so that a wrong try counts
-- against the code it was meant for.
CREATE TABLE telegram_code (
    person     TEXT PRIMARY KEY REFERENCES person (name) ON DELETE CASCADE,
    selector   TEXT NOT NULL UNIQUE,
    mac        TEXT NOT NULL,
    notices    TEXT NOT NULL,
    until      INTEGER NOT NULL,
    tries_left INTEGER NOT NULL
) STRICT;
-- What is still to be said. `message` is set once it was said and a picture of what happened at `door` is still looked for.
CREATE TABLE telegram_outbox (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    chat    INTEGER NOT NULL,
    text    TEXT NOT NULL,
    door    TEXT,
    at      INTEGER NOT NULL,
    more    INTEGER NOT NULL DEFAULT 0,
    message INTEGER
) STRICT;
CREATE INDEX telegram_outbox_chat ON telegram_outbox (chat, id);
