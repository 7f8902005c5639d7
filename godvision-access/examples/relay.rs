//! Asks or moves a relay, to try a device before a door hangs on it:
//!
//! ```text
//! cargo run -p godvision-access --all-features --example relay -- 'modbus+tcp://192.168.1.60/?channels=8&board=waveshare' status
//! cargo run -p godvision-access --all-features --example relay -- 'tasmota+mqtt://door:word@broker/gate' pulse 0 3
//! ```
//!
//! The address goes to the shell's history with its password in it: use one of a device on the bench. Next: the
//! documentation of the driver in `src/relay/`, for what could not be verified about it.

use std::process::ExitCode;
use std::time::Duration;

use godvision_access::relay::RelayRegistry;
use godvision_core::driver::relay::Contact;
use godvision_core::{Secret, SystemClock};

const USAGE: &str = "usage: relay ADDRESS status|on|off [CHANNEL] | pulse CHANNEL SECONDS | input NUMBER";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()).await {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let [address, word, rest @ ..] = arguments else { return Err(USAGE.into()) };
    let relay = RelayRegistry::standard(SystemClock::shared()).open(&Secret::from(address.as_str()))?;
    let number = |at: usize| rest.get(at).map_or(Ok(0), |text| text.parse::<u8>());
    let word_of = |contact| if contact == Contact::On { "on" } else { "off" }.to_owned();
    match word.as_str() {
        "status" => Ok(word_of(relay.status(number(0)?).await?)),
        "input" => Ok(word_of(relay.input(number(0)?).await?)),
        "on" => Ok(relay.set(number(0)?, Contact::On).await.map(|()| "switched on".into())?),
        "off" => Ok(relay.set(number(0)?, Contact::Off).await.map(|()| "switched off".into())?),
        "pulse" => {
            let seconds: f64 = rest.get(1).ok_or(USAGE)?.parse()?;
            relay.pulse(number(0)?, Duration::try_from_secs_f64(seconds)?).await?;
            Ok(format!("begun; who ends it: {:?}", relay.capabilities().pulse))
        }
        _ => Err(USAGE.into()),
    }
}
