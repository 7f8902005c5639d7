//! The behaviour of every [`Relay`](crate::driver::relay::Relay).
