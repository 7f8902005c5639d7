//! Several OSDP devices on one line, as one [`Wire`]: the readers of all of them, one after another, are its channels.
//!
//! One command is on the line at a time; the devices take turns. A device that does not answer is left out for
//! [`LEFT_OUT`], so that it slows the others down no more than that, and counts as tampered with at its channels until it is
//! back. Only when none answers is the line lost.
//!
//! **Never:** commands to everybody (address 127).

use std::time::Duration;

use godvision_core::MonoTime;
use godvision_core::driver::reader::{Capabilities, Presented, ReaderError, ReaderEvent};
use godvision_core::signal::door::{DoorSense, Indication};

use super::super::wire::{Events, Wire, WireEvent};
use super::panel::OsdpWire;

/// Most devices on one line.
pub const DEVICES_MAX: usize = 16;
/// A device that does not answer is asked again after this time.
pub const LEFT_OUT: Duration = Duration::from_secs(5);

struct Device {
    wire: OsdpWire,
    /// The channel of its first reader.
    first: u8,
    is_lost: bool,
    /// Not asked before this moment.
    ask_at: MonoTime,
}

/// Devices that share a line.
pub struct OsdpBus {
    devices: Vec<Device>,
    capabilities: Capabilities,
    /// Whose turn it is.
    turn: usize,
    events: Events,
    now: MonoTime,
}

impl OsdpBus {
    /// The devices of `wires`, at most [`DEVICES_MAX`]; the rest is left out.
    pub fn new(wires: Vec<OsdpWire>) -> Self {
        let mut channels = 0_u8;
        let mut devices = Vec::new();
        for wire in wires.into_iter().take(DEVICES_MAX) {
            let first = channels;
            channels = channels.saturating_add(wire.capabilities().channels);
            devices.push(Device { wire: wire.on_a_bus(), first, is_lost: false, ask_at: MonoTime::ZERO });
        }
        let capabilities = Capabilities { driver: "osdp", channels, indicates: true };
        Self { devices, capabilities, turn: 0, events: Events::default(), now: MonoTime::ZERO }
    }

    fn waiting(&mut self) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.wire.is_waiting())
    }

    /// Gives the line to the next device that has something to say, if nobody has it.
    fn proceed(&mut self, now: MonoTime) {
        self.now = now;
        self.collect();
        let count = self.devices.len();
        for step in 0..count {
            if self.waiting().is_some() {
                return;
            }
            let place = (self.turn + step) % count;
            let Some(device) = self.devices.get_mut(place) else { return };
            let is_due = device.ask_at <= now && device.wire.next_wake().is_some_and(|at| at <= now);
            if is_due {
                device.wire.take_turn(now);
                self.turn = place + 1;
                self.collect();
            }
        }
    }

    /// Takes what the devices' protocols have to say.
    fn collect(&mut self) {
        let (now, events) = (self.now, &mut self.events);
        let mut why = None;
        for device in &mut self.devices {
            while let Some(event) = device.wire.poll_event() {
                match event {
                    WireEvent::Event(ReaderEvent::Presented(Presented { channel, key })) => {
                        events.present(device.first.saturating_add(channel), key);
                    }
                    WireEvent::Event(ReaderEvent::Input { channel, sense }) => {
                        events.sense(device.first.saturating_add(channel), sense);
                    }
                    WireEvent::Nonsense(what) => events.nonsense(what),
                    WireEvent::Lost(what) => {
                        why = Some(what);
                        device.ask_at = now + LEFT_OUT;
                        if !std::mem::replace(&mut device.is_lost, true) {
                            tell_tampered(device, true, events);
                        }
                    }
                }
            }
            if device.is_lost && device.wire.is_online() {
                device.is_lost = false;
                tell_tampered(device, false, events);
            }
        }
        if let Some(why) = why
            && self.devices.iter().all(|device| device.is_lost)
        {
            events.lost(why);
        }
    }
}

/// Says at each channel of `device` whether it counts as tampered with.
fn tell_tampered(device: &Device, is_tampered: bool, events: &mut Events) {
    for reader in 0..device.wire.capabilities().channels {
        events.sense(device.first.saturating_add(reader), DoorSense::Tampered(is_tampered));
    }
}

impl Wire for OsdpBus {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn connected(&mut self, now: MonoTime) {
        for device in &mut self.devices {
            device.wire.connected(now);
            device.ask_at = now;
        }
        self.proceed(now);
    }

    fn receive(&mut self, bytes: &[u8], now: MonoTime) {
        match self.waiting() {
            Some(device) => device.wire.receive(bytes, now),
            None => self.events.nonsense("bytes that nobody asked for"),
        }
        self.proceed(now);
    }

    fn tick(&mut self, now: MonoTime) {
        for device in &mut self.devices {
            device.wire.tick(now);
        }
        self.proceed(now);
    }

    fn next_wake(&self) -> Option<MonoTime> {
        let waiting = self.devices.iter().find(|device| device.wire.is_waiting());
        match waiting {
            Some(device) => device.wire.next_wake(),
            None => self.devices.iter().filter_map(|device| Some(device.wire.next_wake()?.max(device.ask_at))).min(),
        }
    }

    fn poll_event(&mut self) -> Option<WireEvent> {
        self.events.pop()
    }

    fn poll_send(&mut self, out: &mut Vec<u8>) {
        for device in &mut self.devices {
            device.wire.poll_send(out);
        }
    }

    fn indicate(&mut self, channel: u8, indication: Indication, now: MonoTime) -> Result<(), ReaderError> {
        let last = self.devices.iter_mut().rev().find(|device| device.first <= channel);
        let device = last.ok_or(ReaderError::Unsupported { what: "show anything without a device" })?;
        device.wire.indicate(channel - device.first, indication, now)?;
        self.proceed(now);
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.devices.iter().all(|device| device.is_lost || device.wire.is_settled())
    }
}

#[cfg(test)]
mod tests {
    use super::super::panel::OsdpOptions;
    use super::*;

    #[test]
    fn every_door_of_a_lost_device_hears_of_it() {
        let wire = |address| {
            let options = OsdpOptions { address, readers: 2, ..OsdpOptions::default() };
            OsdpWire::new(options, Box::new(|| Some([0; 8])))
        };
        let mut bus = OsdpBus::new(vec![wire(1), wire(2)]);
        let mut now = MonoTime::ZERO;
        bus.connected(now);
        let mut told = Vec::new();
        for _ in 0..1000 {
            bus.poll_send(&mut Vec::new());
            now = bus.next_wake().unwrap_or(now).max(now);
            bus.tick(now);
            while let Some(event) = bus.poll_event() {
                match event {
                    WireEvent::Event(ReaderEvent::Input { channel, sense }) => told.push((channel, sense)),
                    WireEvent::Lost(_) => {
                        return assert_eq!(told, [0, 1, 2, 3].map(|channel| (channel, DoorSense::Tampered(true))));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        panic!("nobody answers, and the line is not lost: {told:?}");
    }
}
