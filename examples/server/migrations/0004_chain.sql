-- The journal as a chain: `hash` is SHA-256 over the hash of the entry before it and the entry itself (src/store/chain.rs
-- says of which bytes). NULL only in rows of earlier versions, until the first start after the upgrade seals them.
ALTER TABLE journal ADD COLUMN hash BLOB CHECK (length(hash) = 32);
CREATE INDEX journal_unsealed ON journal (id) WHERE hash IS NULL;

-- What the oldest kept entry follows: nothing, or the newest one that retention removed.
CREATE TABLE journal_anchor (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    id   INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO journal_anchor (one, id, hash) VALUES (1, 0, zeroblob(32));

-- These guard against mistakes, ours too; whoever owns the file can drop them, and the chain then tells.
CREATE TRIGGER journal_is_only_added_to BEFORE INSERT ON journal
WHEN NEW.hash IS NULL OR NEW.id <= (SELECT coalesce(max(id), 0) FROM journal)
BEGIN SELECT RAISE(ABORT, 'the journal is only added to, at its end, with a hash'); END;

-- Sealing a row of an earlier version is the one change there is.
CREATE TRIGGER journal_is_not_edited BEFORE UPDATE ON journal
WHEN OLD.hash IS NOT NULL OR NEW.hash IS NULL
    OR (NEW.id, NEW.at, NEW.service, NEW.level, NEW.code, NEW.text, NEW.fields)
        IS NOT (OLD.id, OLD.at, OLD.service, OLD.level, OLD.code, OLD.text, OLD.fields)
BEGIN SELECT RAISE(ABORT, 'an entry of the journal is never changed'); END;

-- Retention moves the anchor first, then removes what lies before it.
CREATE TRIGGER journal_is_not_cut BEFORE DELETE ON journal
WHEN OLD.id > (SELECT id FROM journal_anchor)
BEGIN SELECT RAISE(ABORT, 'entries of the journal go with the anchor, the oldest first'); END;

CREATE TRIGGER journal_anchor_moves_on BEFORE UPDATE ON journal_anchor
WHEN NEW.id <= OLD.id OR NEW.hash IS NOT (SELECT hash FROM journal WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the anchor moves to a later entry and takes its hash'); END;

CREATE TRIGGER journal_anchor_stays BEFORE DELETE ON journal_anchor
BEGIN SELECT RAISE(ABORT, 'the anchor stays'); END;

CREATE TRIGGER service_is_not_renamed BEFORE UPDATE ON service WHEN (NEW.id, NEW.name) IS NOT (OLD.id, OLD.name)
BEGIN SELECT RAISE(ABORT, 'the name of a service is never changed: entries speak of it'); END;
