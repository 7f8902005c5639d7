//! Physical access control: credentials, rules where a prohibition always wins, doors and relays.
