//! Runs the fakes of the field bus devices on loopback, to try drivers, programs and pages without hardware:
//!
//! ```text
//! cargo run -p godvision-access --all-features --example fake_boards
//! ```
//! prints an address a line, for the example `relay` or a door's configuration, and runs until its input ends.

use std::sync::Arc;
use std::time::Duration;

use godvision_access::relay::fake_board::Board;
use godvision_access::relay::fake_esphome::FakeEsphome;
use godvision_access::relay::fake_modbus::{FakeModbus, Wire};
use godvision_access::relay::fake_mqtt::{Device, FakeMqtt};
use godvision_access::relay::fake_onvif::{FakeOnvif, Proof};
use godvision_access::relay::fake_usr_r16::FakeUsrR16;
use godvision_core::SystemClock;
use tokio::io::AsyncReadExt;

/// The key of the fake ESPHome device: 32 bytes of 42.
const KEY: [u8; 32] = [42; 32];
const KEY_IN_ADDRESS: &str = "KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio%3D";

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let clock = SystemClock::shared();
    let board = |channels, inputs| Arc::new(Board::new(channels, inputs, Arc::clone(&clock)));
    let tcp = FakeModbus::start(board(8, 8), Wire::Tcp).await?;
    println!("modbus+tcp://{}/?board=waveshare&channels=8&inputs=8", tcp.address());
    let rtu = FakeModbus::start(board(8, 8), Wire::Rtu).await?;
    println!("modbus+rtutcp://{}/?channels=8", rtu.address());
    let tasmota = FakeMqtt::start(board(2, 0), Device::Tasmota, None).await?;
    println!("tasmota+mqtt://{}/gate?channels=2", tasmota.address());
    let zigbee = FakeMqtt::start(board(2, 0), Device::Zigbee, None).await?;
    println!("zigbee2mqtt://{}/gate?channels=2", zigbee.address());
    let onvif = FakeOnvif::start(board(1, 1), Some((Proof::UsernameToken, "admin".into())), Arc::clone(&clock)).await?;
    println!("onvif://admin:admin@{}/?output=relay0&input=input0", onvif.address());
    let esphome = FakeEsphome::start(board(1, 1), Some(KEY), Duration::from_secs(3)).await?;
    let entities = "switch=gate_1&button=gate_1_pulse&pulse_ms=3000&input=contact_1";
    println!("esphome://:{KEY_IN_ADDRESS}@{}/?{entities}", esphome.address());
    let usr = FakeUsrR16::start(board(16, 0), "admin".into()).await?;
    println!("usr-r16://:admin@{}/", usr.address());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}
