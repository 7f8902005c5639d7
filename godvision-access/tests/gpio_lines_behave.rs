//! Lines of a GPIO chip: the behaviour suite, and what only lines can get wrong. The chip is a fake behind the driver's
//! trait; the kernel's side is not run here.

mod board_bench;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use board_bench::{BoardBench, TIMEOUT, board};
use godvision_access::relay::RelayRegistry;
use godvision_access::relay::fake_gpio::{FakeLines, INPUT_LINE};
use godvision_access::relay::gpio::{Gpio, GpioLines, GpioOptions};
use godvision_core::SystemClock;
use godvision_core::driver::relay::{Contact, PulseTiming, Relay, RelayError};

fn options() -> GpioOptions {
    GpioOptions {
        lines: vec![0, 1],
        inputs: vec![INPUT_LINE, INPUT_LINE + 1],
        timeout: TIMEOUT,
        ..GpioOptions::new("/dev/gpiochip-fake", 0)
    }
}

async fn start() -> BoardBench<()> {
    let (clock, board) = board(2, 2);
    let relay = Arc::new(Gpio::over(options(), FakeLines::new(Arc::clone(&board))));
    BoardBench { clock, board, device: (), relay, wrong: None, password: None, can_refuse: true }
}

godvision_core::relay_conformance!(gpio_lines, start());

struct Stuck;

impl GpioLines for Stuck {
    fn read(&mut self, _: u32, _: bool) -> io::Result<bool> {
        Ok(false)
    }

    fn drive(&mut self, _: u32, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_line_that_does_not_follow_is_no_success() {
    let relay = Gpio::over(options(), Stuck);
    let error = relay.pulse(0, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, RelayError::BadReply { .. }), "{error:?}");
    assert_eq!(relay.set(0, Contact::Off).await, Ok(()));
}

/// The first call hangs; the rest are counted.
struct Hanging(Arc<AtomicUsize>, std::sync::mpsc::Receiver<()>);

impl GpioLines for Hanging {
    fn read(&mut self, _: u32, _: bool) -> io::Result<bool> {
        Ok(true)
    }

    fn drive(&mut self, _: u32, _: bool) -> io::Result<()> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = self.1.recv();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_command_that_was_given_up_is_not_carried_out_later() {
    let (go_on, waits) = std::sync::mpsc::channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let relay = Gpio::over(options(), Hanging(Arc::clone(&calls), waits));
    for _ in 0..3 {
        let error = relay.pulse(0, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(error, RelayError::Timeout { .. }), "{error:?}");
    }
    go_on.send(()).unwrap();
    assert_eq!(relay.status(0).await, Ok(Contact::On));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the two that waited behind the first were not begun");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_chip_that_is_not_there_is_unreachable() {
    let registry = RelayRegistry::standard(SystemClock::shared());
    let relay = registry.open(&"gpio:///dev/no-such-chip?line=17,27&input=22&active=low".into()).unwrap();
    assert_eq!((relay.capabilities().channels, relay.capabilities().inputs), (2, 1));
    assert_eq!(relay.capabilities().pulse, PulseTiming::Host);
    let error = relay.set(0, Contact::Off).await.unwrap_err();
    assert!(matches!(error, RelayError::Unreachable { .. }), "{error:?}");
    for url in [
        "gpio://host?line=1",
        "gpio:///dev/gpiochip0",
        "gpio:///c?line=x",
        "gpio:///c?line=1,1",
        "gpio:///c?line=1&active=up",
    ] {
        assert!(registry.open(&url.into()).is_err(), "{url}");
    }
}
