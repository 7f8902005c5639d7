//! The reader suite on a reader in memory: a line of text for each credential, `CHANNEL card NUMBER`.
#![cfg(feature = "conformance")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use godvision_core::driver::BoxFuture;
use godvision_core::driver::conformance::reader::ReaderBench;
use godvision_core::driver::reader::{Capabilities, Presented, Reader, ReaderError, ReaderEvent};
use godvision_core::signal::door::{DoorSense, Indication, Key};
use tokio::sync::Notify;

#[derive(Default)]
struct Device {
    lines: Mutex<VecDeque<String>>,
    is_cut: Mutex<bool>,
    shown: Mutex<Option<Indication>>,
    changed: Notify,
}

/// Longer flood than this the device forgets.
const LINES_MAX: usize = 1000;

struct LineReader {
    device: Arc<Device>,
    capabilities: Capabilities,
    /// A lost link is told once, then waited for.
    told_cut: bool,
    /// What is to be shown once there is a link.
    wanted: Option<Indication>,
}

fn parse(line: &str, channels: u8) -> Option<ReaderEvent> {
    let words: Vec<&str> = line.split(' ').collect();
    let channel = words.first()?.parse().ok().filter(|channel| *channel < channels)?;
    let sense = |sense| Some(ReaderEvent::Input { channel, sense });
    match words.get(1..)? {
        ["card", number] => Some(Presented { channel, key: Key::Card((*number).into()) }.into()),
        ["ajar", is_open] => sense(DoorSense::Ajar(*is_open == "true")),
        ["lid", is_open] => sense(DoorSense::Tampered(*is_open == "true")),
        ["exit"] => sense(DoorSense::ExitRequested),
        _ => None,
    }
}

impl Reader for LineReader {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent, ReaderError>> {
        Box::pin(async move {
            let address = || "memory".to_owned();
            loop {
                let is_cut = *self.device.is_cut.lock().unwrap();
                if is_cut && !std::mem::replace(&mut self.told_cut, true) {
                    return Err(ReaderError::Unreachable { address: address(), detail: "it is cut".to_owned() });
                }
                if !is_cut {
                    self.told_cut = false;
                    if let Some(wanted) = self.wanted.take() {
                        *self.device.shown.lock().unwrap() = Some(wanted);
                    }
                    let line = self.device.lines.lock().unwrap().pop_front();
                    if let Some(line) = line {
                        let bad = || ReaderError::BadInput { address: address(), detail: "no card line".to_owned() };
                        return parse(&line, self.capabilities.channels).ok_or_else(bad);
                    }
                }
                self.device.changed.notified().await;
            }
        })
    }

    fn indicate(&mut self, channel: u8, indication: Indication) -> BoxFuture<'_, Result<(), ReaderError>> {
        let result = if channel >= self.capabilities.channels {
            Err(ReaderError::Unsupported { what: "show anything there" })
        } else if *self.device.is_cut.lock().unwrap() {
            self.wanted = Some(indication);
            Err(ReaderError::Unreachable { address: "memory".into(), detail: "it is cut".into() })
        } else {
            *self.device.shown.lock().unwrap() = Some(indication);
            Ok(())
        };
        Box::pin(async { result })
    }
}

struct Bench {
    reader: LineReader,
    presented: u32,
}

impl Bench {
    async fn start() -> Self {
        let capabilities = Capabilities { driver: "lines", channels: 3, indicates: true };
        Self {
            reader: LineReader { device: Arc::default(), capabilities, told_cut: false, wanted: None },
            presented: 0,
        }
    }

    fn send(&self, line: String) {
        let mut lines = self.reader.device.lines.lock().unwrap();
        if lines.len() < LINES_MAX {
            lines.push_back(line);
        }
        drop(lines);
        self.reader.device.changed.notify_one();
    }
}

impl ReaderBench for Bench {
    fn reader(&mut self) -> &mut dyn Reader {
        &mut self.reader
    }

    fn present(&mut self, channel: u8) -> Key {
        self.presented += 1;
        let number = format!("04A1{:04X}", self.presented);
        self.send(format!("{channel} card {number}"));
        Key::Card(number.into())
    }

    fn present_half(&mut self, channel: u8) {
        self.send(format!("{channel} ca"));
    }

    fn present_elsewhere(&mut self) -> bool {
        self.send("3 card 04A1".to_owned());
        true
    }

    fn move_input(&mut self, channel: u8, sense: DoorSense) -> bool {
        self.send(match sense {
            DoorSense::Ajar(is_open) => format!("{channel} ajar {is_open}"),
            DoorSense::Tampered(is_open) => format!("{channel} lid {is_open}"),
            DoorSense::ExitRequested => format!("{channel} exit"),
        });
        true
    }

    fn send_garbage(&mut self) {
        self.send("\u{7f}garbage".to_owned());
    }

    fn set_link(&mut self, is_up: bool) {
        *self.reader.device.is_cut.lock().unwrap() = !is_up;
        self.reader.device.changed.notify_one();
    }

    fn shown(&self, _: u8) -> Option<Indication> {
        *self.reader.device.shown.lock().unwrap()
    }
}

godvision_core::reader_conformance!(lines, Bench::start());
