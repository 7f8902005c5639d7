//! Keeping clips: pre-roll, a durable spool and verified FTP(S) upload.
