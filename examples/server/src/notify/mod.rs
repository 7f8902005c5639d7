//! What leaves the site because its owner said so: messages by Telegram, to people bound to persons of the directory; what
//! doors do, by MQTT, to a broker of the owner's.
//!
//! A channel is a unit of the site document, linked from the doors like any other sink, so that a document says what leaves
//! the site and to whom.
//!
//! **Never:** a door that opens by another way than the rules; anything sent before the owner configured it.

pub mod mqtt;
pub mod telegram;
