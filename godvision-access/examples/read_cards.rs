//! Tries a reader out: prints what is presented to it, and lets it beep for each.
//!
//! ```text
//! cargo run -p godvision-access --example read_cards -- 'keypad+tcp://192.168.1.30/'
//! cargo run -p godvision-access --example read_cards -- 'osdp+tcp://:00112233445566778899aabbccddeeff@192.168.1.31:4001/'
//! ```
//! What you will see: the lamp goes red, and for each card or PIN a line with its number, three beeps at the reader, and red
//! again. Numbers are printed in clear: this is for the owner's table, where cards are added to the directory.
//!
//! Next: `src/reader/component.rs` puts a reader on the bus, `src/reader/bridge.rs` is a wire to build one yourself.

use std::time::Duration;

use godvision_access::reader::ReaderRegistry;
use godvision_core::SystemClock;
use godvision_core::driver::reader::{Reader, ReaderError, ReaderEvent};
use godvision_core::signal::door::{Indication, Key};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = ReaderRegistry::standard(SystemClock::shared());
    let Some(url) = std::env::args().nth(1) else {
        for driver in registry.specs() {
            println!("{:12} {}", driver.scheme, driver.about);
        }
        return Ok(());
    };
    let mut reader = registry.open(&url.into())?;
    for channel in 0..reader.capabilities().channels {
        tell(reader.as_mut(), channel, Indication::Ready).await;
    }
    loop {
        match reader.next().await {
            Ok(ReaderEvent::Presented(presented)) => {
                match &presented.key {
                    Key::Card(number) => println!("channel {}: card {}", presented.channel, number.expose()),
                    Key::Pin(digits) => {
                        println!("channel {}: PIN of {} digits", presented.channel, digits.expose().len())
                    }
                    other => println!("channel {}: {other:?}", presented.channel),
                }
                tell(reader.as_mut(), presented.channel, Indication::Refused).await;
            }
            Ok(ReaderEvent::Input { channel, sense }) => println!("channel {channel}: {sense:?}"),
            Err(error) => {
                println!("{error}");
                if matches!(error, ReaderError::Unreachable { .. }) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn tell(reader: &mut dyn Reader, channel: u8, indication: Indication) {
    if let Err(error) = reader.indicate(channel, indication).await {
        println!("{error}");
    }
}
