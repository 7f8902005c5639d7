#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod store;
pub mod web;

pub mod cli;
pub mod demo;
pub mod run;

pub mod site;
pub mod wiring;

pub mod board;
pub mod metrics;
pub mod notify;
pub mod persons;
pub mod rules_form;
pub mod sightings;
