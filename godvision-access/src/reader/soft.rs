//! Readers without a device: a keypad on a page, a button in a messenger, anything an application reads itself.
//!
//! ```
//! use godvision_access::reader::soft::SoftReaders;
//! use godvision_core::signal::door::Key;
//!
//! let readers = SoftReaders::default();
//! let hall = readers.handle("hall")?; // the device soft://hall of a site
//! assert!(hall.present(Key::Pin("2580".into())).is_err()); // which nobody drives here
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! The application has authenticated or at least limited whoever presents: a page can ask a thousand times a second.
//!
//! **Never:** a limit of rate (the caller knows whom it limits), sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use godvision_core::driver::BoxFuture;
use godvision_core::driver::reader::{Capabilities, Presented, Reader, ReaderError, ReaderEvent};
use godvision_core::signal::door::{Indication, Key};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};

use crate::error::Error;

/// Credentials that may wait at one reader; a person at a page can see that theirs was not taken.
pub const WAITING_MAX: usize = 8;
/// Most readers.
pub const READERS_MAX: usize = 256;

struct Soft {
    sender: mpsc::Sender<Key>,
    /// Whoever drives the reader now.
    receiver: Arc<AsyncMutex<mpsc::Receiver<Key>>>,
    drivers: Arc<AtomicUsize>,
    shown: watch::Sender<Indication>,
}

/// All readers of an application, by name.
#[derive(Clone, Default)]
pub struct SoftReaders(Arc<Mutex<BTreeMap<String, Soft>>>);

/// Where an application presents what it has read.
#[derive(Clone)]
pub struct SoftHandle {
    sender: mpsc::Sender<Key>,
    drivers: Arc<AtomicUsize>,
    shown: watch::Receiver<Indication>,
}

impl SoftReaders {
    fn soft<T>(&self, name: &str, of: impl FnOnce(&Soft) -> T) -> Result<T, Error> {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !readers.contains_key(name) && readers.len() >= READERS_MAX {
            return Err(Error::BadDeviceUrl { detail: "there are 256 soft readers already" });
        }
        Ok(of(readers.entry(name.to_owned()).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            let receiver = Arc::new(AsyncMutex::new(receiver));
            Soft { sender, receiver, drivers: Arc::default(), shown: watch::Sender::new(Indication::Busy) }
        })))
    }

    /// The application's side of the reader `name`; it need not be driven yet.
    ///
    /// # Errors
    /// [`Error::BadDeviceUrl`] if there are [`READERS_MAX`] already.
    pub fn handle(&self, name: &str) -> Result<SoftHandle, Error> {
        self.soft(name, |soft| SoftHandle {
            sender: soft.sender.clone(),
            drivers: Arc::clone(&soft.drivers),
            shown: soft.shown.subscribe(),
        })
    }

    /// The driver's side of the reader `name`. It is driven from the first [`Reader::indicate`] or [`Reader::next`] on until it
    /// is dropped.
    ///
    /// # Errors
    /// As [`SoftReaders::handle`].
    pub fn reader(&self, name: &str) -> Result<SoftReader, Error> {
        self.soft(name, |soft| SoftReader {
            receiver: Arc::clone(&soft.receiver),
            drivers: Arc::clone(&soft.drivers),
            is_driven: false,
            shown: soft.shown.clone(),
            capabilities: Capabilities { driver: "soft", channels: 1, indicates: true },
        })
    }
}

impl fmt::Debug for SoftReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.lock().unwrap_or_else(PoisonError::into_inner).keys()).finish()
    }
}

impl SoftHandle {
    /// Presents `key`; what comes of it is shown, journalled and decided as at any reader.
    ///
    /// # Errors
    /// [`Error::ReaderBusy`] if [`WAITING_MAX`] wait already, or nobody drives the reader.
    pub fn present(&self, key: Key) -> Result<(), Error> {
        if self.drivers.load(Ordering::Acquire) == 0 {
            return Err(Error::ReaderBusy);
        }
        self.sender.try_send(key).map_err(|_| Error::ReaderBusy)
    }

    /// What the reader shows.
    pub fn shown(&self) -> Indication {
        *self.shown.borrow()
    }

    /// Waits until it shows something else, and says what. For ever if that never happens.
    pub async fn changed(&mut self) -> Indication {
        if self.shown.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.shown.borrow_and_update()
    }
}

impl fmt::Debug for SoftHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a soft reader that shows {:?}", self.shown())
    }
}

/// A reader that reads what an application presents. If it is driven twice, the second waits for the first.
pub struct SoftReader {
    receiver: Arc<AsyncMutex<mpsc::Receiver<Key>>>,
    drivers: Arc<AtomicUsize>,
    is_driven: bool,
    shown: watch::Sender<Indication>,
    capabilities: Capabilities,
}

impl SoftReader {
    fn drive(&mut self) {
        if std::mem::replace(&mut self.is_driven, true) {
            return;
        }
        if self.drivers.load(Ordering::Acquire) == 0
            && let Ok(mut stale) = self.receiver.try_lock()
        {
            // Presented to a driver that is gone: nobody waits for it any more.
            while stale.try_recv().is_ok() {}
        }
        self.drivers.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for SoftReader {
    fn drop(&mut self) {
        if self.is_driven && self.drivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shown.send_replace(Indication::Busy);
        }
    }
}

impl Reader for SoftReader {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn next(&mut self) -> BoxFuture<'_, Result<ReaderEvent, ReaderError>> {
        self.drive();
        Box::pin(async move {
            let key = self.receiver.lock().await.recv().await;
            let gone = || ReaderError::Unreachable { address: "soft".into(), detail: "the application is gone".into() };
            key.map(|key| Presented { channel: 0, key }.into()).ok_or_else(gone)
        })
    }

    fn indicate(&mut self, channel: u8, indication: Indication) -> BoxFuture<'_, Result<(), ReaderError>> {
        self.drive();
        let result = match channel {
            0 => {
                self.shown.send_replace(indication);
                Ok(())
            }
            _ => Err(ReaderError::Unsupported { what: "show anything at a channel it does not have" }),
        };
        Box::pin(async move { result })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_application_presents_is_read_and_it_sees_what_is_shown() {
        let readers = SoftReaders::default();
        let mut handle = readers.handle("hall").unwrap();
        let mut reader = readers.reader("hall").unwrap();
        assert_eq!(handle.shown(), Indication::Busy, "nobody says that it is ready");
        reader.indicate(0, Indication::Ready).await.unwrap();
        assert_eq!(handle.changed().await, Indication::Ready);
        handle.present(Key::Pin("2580".into())).unwrap();
        assert_eq!(reader.next().await, Ok(Presented { channel: 0, key: Key::Pin("2580".into()) }.into()));
        reader.indicate(0, Indication::Open).await.unwrap();
        assert_eq!(handle.changed().await, Indication::Open);
        assert!(reader.indicate(1, Indication::Open).await.is_err());
    }

    #[tokio::test]
    async fn nobody_drives_it_is_told_and_nothing_waits_for_whoever_does_later() {
        let readers = SoftReaders::default();
        let handle = readers.handle("hall").unwrap();
        let present = |pin: &str| handle.present(Key::Pin(pin.into()));
        let is_busy = |told| matches!(told, Err(Error::ReaderBusy));
        assert!(is_busy(present("1111")), "there is no reader");
        let mut reader = readers.reader("hall").unwrap();
        assert!(is_busy(present("1111")), "nobody drives it yet");
        reader.indicate(0, Indication::Ready).await.unwrap();
        present("2222").unwrap();
        drop(readers.reader("hall").unwrap());
        assert_eq!(
            reader.next().await,
            Ok(Presented { channel: 0, key: Key::Pin("2222".into()) }.into()),
            "one only looked"
        );
        present("3333").unwrap();
        drop(reader);
        assert!(is_busy(present("4444")), "its driver is gone");
        assert_eq!(handle.shown(), Indication::Busy);
        let mut reader = readers.reader("hall").unwrap();
        reader.indicate(0, Indication::Ready).await.unwrap();
        present("5555").unwrap();
        assert_eq!(reader.next().await, Ok(Presented { channel: 0, key: Key::Pin("5555".into()) }.into()));
    }

    #[tokio::test]
    async fn a_flood_is_told_to_whoever_makes_it() {
        let handle = SoftReaders::default().handle("hall").unwrap();
        let taken = (0..100).filter(|_| handle.present(Key::Pin("1".into())).is_ok()).count();
        assert_eq!(taken, 0, "the readers are gone");
        let readers = SoftReaders::default();
        let handle = readers.handle("hall").unwrap();
        let mut reader = readers.reader("hall").unwrap();
        reader.indicate(0, Indication::Ready).await.unwrap();
        let taken = (0..100).filter(|_| handle.present(Key::Pin("1".into())).is_ok()).count();
        assert_eq!(taken, WAITING_MAX);
        let many = (0..READERS_MAX * 2).filter(|number| readers.handle(&format!("r{number}")).is_ok()).count();
        assert_eq!(many, READERS_MAX - 1);
    }
}
