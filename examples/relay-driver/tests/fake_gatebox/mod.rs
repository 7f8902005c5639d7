//! A fake Gatebox on loopback, written from its document: contacts with timers on a clock that a test moves, inputs, and
//! a link and answers that can be spoiled.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::driver::conformance::relay::Spoil;
use godvision_core::driver::relay::Contact;
use godvision_core::{Clock, ManualClock, MonoTime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Default)]
struct Channel {
    on: bool,
    off_at: Option<MonoTime>,
}

#[derive(Default)]
struct State {
    channels: [Channel; 2],
    closed: [bool; 2],
    moves: usize,
}

struct Device {
    password: &'static str,
    clock: ManualClock,
    state: Mutex<State>,
    spoil: watch::Sender<Spoil>,
}

pub(crate) struct FakeGatebox {
    pub(crate) address: SocketAddr,
    device: Arc<Device>,
}

impl FakeGatebox {
    pub(crate) async fn start(password: &'static str, clock: ManualClock) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, spoil) = (Mutex::default(), watch::Sender::new(Spoil::Nothing));
        let device = Arc::new(Device { password, clock, state, spoil });
        let serving = Arc::clone(&device);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let device = Arc::clone(&serving);
                tokio::spawn(async move {
                    let mut spoil = device.spoil.subscribe();
                    tokio::select! {
                        biased;
                        _ = spoil.wait_for(|how| *how == Spoil::CutLink) => {}
                        _ = device.serve(stream) => {}
                    }
                });
            }
        });
        Self { address, device }
    }

    pub(crate) fn contact(&self, channel: u8) -> Contact {
        if self.device.is_on(channel.into()) { Contact::On } else { Contact::Off }
    }

    pub(crate) fn press(&self, channel: u8, contact: Contact) {
        let pressed = Channel { on: contact == Contact::On, off_at: None };
        self.device.state.lock().unwrap().channels[usize::from(channel)] = pressed;
    }

    pub(crate) fn close_input(&self, input: u8, contact: Contact) {
        self.device.state.lock().unwrap().closed[usize::from(input)] = contact == Contact::On;
    }

    pub(crate) fn spoil(&self, how: Spoil) {
        self.device.spoil.send_replace(how);
    }

    pub(crate) fn reboot(&self) {
        self.device.state.lock().unwrap().channels = Default::default();
    }

    pub(crate) fn moves(&self) -> usize {
        self.device.state.lock().unwrap().moves
    }
}

impl Device {
    fn is_on(&self, channel: usize) -> bool {
        let now = self.clock.mono();
        let channel = &mut self.state.lock().unwrap().channels[channel];
        if channel.off_at.is_some_and(|off_at| off_at <= now) {
            *channel = Channel::default();
        }
        channel.on
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let (read, mut write) = stream.split();
        let (mut read, mut line, mut welcome) = (BufReader::new(read), String::new(), false);
        while read.read_line(&mut line).await.ok()? > 0 {
            let words: Vec<&str> = line.trim_end().split(' ').collect();
            let answer = match words.as_slice() {
                ["AUTH", word] if *word == self.password => {
                    welcome = true;
                    "OK\n".to_owned()
                }
                _ if !welcome => "DENIED\n".to_owned(),
                _ if *self.spoil.borrow() == Spoil::Refuse => "ERR locked\n".to_owned(),
                words => self.carry_out(words).unwrap_or_else(|| "ERR what\n".to_owned()),
            };
            let how = *self.spoil.borrow();
            match how {
                // It says nothing until it is hung up on.
                Spoil::Slow => while read.read_u8().await.is_ok() {},
                Spoil::Half => return write.write_all(&answer.as_bytes()[..answer.len() / 2]).await.ok(),
                Spoil::Garbage => write.write_all(b"\x00\xffSSH-2.0\n").await.ok()?,
                _ => write.write_all(answer.as_bytes()).await.ok()?,
            }
            line.clear();
        }
        Some(())
    }

    fn carry_out(&self, words: &[&str]) -> Option<String> {
        let index: usize = words.get(1)?.parse::<usize>().ok()?.checked_sub(1).filter(|index| *index < 2)?;
        let (on, after) = match words {
            ["PULSE", _, ms] => (true, Some(Duration::from_millis(ms.parse().ok()?))),
            ["SET", _, state] => (*state == "ON", None),
            ["INPUT", _] => {
                let closed = self.state.lock().unwrap().closed[index];
                return Some(format!("OK {} {}\n", index + 1, if closed { "CLOSED" } else { "OPEN" }));
            }
            ["STATE", _] => {
                return Some(format!("OK {} {}\n", index + 1, if self.is_on(index) { "ON" } else { "OFF" }));
            }
            _ => return None,
        };
        let off_at = after.map(|after| self.clock.mono() + after);
        {
            let mut state = self.state.lock().unwrap();
            state.channels[index] = Channel { on, off_at };
            state.moves += 1;
        }
        Some(format!("OK {} {}\n", index + 1, if on { "ON" } else { "OFF" }))
    }
}
