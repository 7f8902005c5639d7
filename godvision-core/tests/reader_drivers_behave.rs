//! The reader suite on a reader in memory: a line of text for each credential, `CHANNEL card NUMBER`.
#![cfg(feature = "conformance")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use godvision_core::driver::BoxFuture;
use godvision_core::driver::conformance::reader::ReaderBench;
use godvision_core::driver::reader::{Capabilities, Presented, Reader, ReaderError, ReaderEvent};
use godvision_core::signal::door::{Indication, Key};
use tokio::sync::Notify;

#[derive(Default)]
struct Device {
    lines: Mutex<VecDeque<String>>,
    is_cut: Mutex<bool>,
    shown: Mutex<Option<Indication>>,
    changed: Notify,
}

struct LineReader {
    device: Arc<Device>,
    capabilities: Capabilities,
    /// A lost link is told once, then waited for.
    told_cut: bool,
}

fn parse(line: &str) -> Option<Presented> {
    let mut words = line.split(' ');
    let channel = words.next()?.parse().ok()?;
    let key = match (words.next()?, words.next()?) {
        ("card", number) => Key::Card(number.into()),
        _ => return None,
    };
    words.next().is_none().then_some(Presented { channel, key })
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
                    let line = self.device.lines.lock().unwrap().pop_front();
                    if let Some(line) = line {
                        let bad = || ReaderError::BadInput { address: address(), detail: "no card line".to_owned() };
                        return parse(&line).map(ReaderEvent::from).ok_or_else(bad);
                    }
                }
                self.device.changed.notified().await;
            }
        })
    }

    fn indicate(&mut self, _: u8, indication: Indication) -> BoxFuture<'_, Result<(), ReaderError>> {
        *self.device.shown.lock().unwrap() = Some(indication);
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    reader: LineReader,
    presented: u32,
}

impl Bench {
    async fn start() -> Self {
        let capabilities = Capabilities { driver: "lines", channels: 3, indicates: true };
        Self { reader: LineReader { device: Arc::default(), capabilities, told_cut: false }, presented: 0 }
    }

    fn send(&self, line: String) {
        self.reader.device.lines.lock().unwrap().push_back(line);
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
