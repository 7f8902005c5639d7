//! A reader at a serial port, by its address: the port is a pseudo-terminal of Linux.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use godvision_access::reader::ReaderRegistry;
use godvision_core::SystemClock;
use godvision_core::driver::reader::{Presented, Reader, ReaderError};
use godvision_core::signal::door::{Indication, Key};
use serial2_tokio::SerialPort;

/// The pseudo-terminals that this process has open.
fn terminals() -> BTreeSet<PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let is_terminal = |path: &PathBuf| path.starts_with("/dev/pts") && !path.ends_with("ptmx");
    files.filter(is_terminal).collect()
}

async fn next(reader: &mut dyn Reader) -> Result<godvision_core::driver::reader::ReaderEvent, ReaderError> {
    tokio::time::timeout(Duration::from_secs(5), reader.next()).await.expect("something is read")
}

#[tokio::test]
async fn keys_come_in_and_lamps_go_out() {
    let before = terminals();
    let (device, port) = SerialPort::pair().unwrap();
    let path = terminals().difference(&before).next().expect("the port's own file").clone();
    let url = format!("keypad://{}?baud=115200&channels=2", path.display());
    let mut reader = ReaderRegistry::standard(SystemClock::shared()).open(&url.into()).unwrap();
    reader.indicate(1, Indication::Open).await.unwrap();
    let mut lamps = [0; 256];
    let mut heard = String::new();
    while !heard.contains("show 1 -g-\n") {
        let read = tokio::time::timeout(Duration::from_secs(5), device.read(&mut lamps)).await;
        heard += std::str::from_utf8(&lamps[..read.unwrap().unwrap()]).unwrap();
    }
    device.write_all(b"key 1 2\nkey 1 5\nkey 1 #\n").await.unwrap();
    let presented = Presented { channel: 1, key: Key::Pin("25".into()) };
    assert_eq!(next(reader.as_mut()).await, Ok(presented.into()));
    // The other end is unplugged.
    drop((device, port));
    let lost = next(reader.as_mut()).await;
    assert!(matches!(lost, Err(ReaderError::Unreachable { .. })), "{lost:?}");
}

#[tokio::test]
async fn a_port_that_is_not_there_is_unreachable() {
    let mut reader = ReaderRegistry::standard(SystemClock::shared()).open(&"lines:///dev/no-such-port".into()).unwrap();
    let lost = next(reader.as_mut()).await;
    assert!(matches!(lost, Err(ReaderError::Unreachable { .. })), "{lost:?}");
}
