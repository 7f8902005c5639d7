//! What a site remembers of faces, for components and a cabinet at once: [`FaceMemory`].
//!
//! Three things under one handle, because forgetting must reach them all: the gallery of people, the groups of strangers,
//! and the history of faces seen. Each has a lock of its own that is held for microseconds to a millisecond; none is
//! ever held while another is taken.
//!
//! **Never:** files (seal the gallery with [`super::vault`]; strangers and history live until the program ends), pictures.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::{MonoTime, Name, WallTime};

use super::Embedding;
use super::gallery::{Consent, Deletion, Gallery, SharedGallery};
use super::group::Strangers;
use super::history::{History, Seen};
use crate::error::Error;

/// Least similarity of faces in the history that are forgotten with a person: the threshold of a door.
const SAME_PERSON: f32 = 0.42;

/// What is remembered of faces that nobody enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// After how long unseen a stranger is forgotten. 30 days.
    pub strangers_keep: Duration,
    /// How many faces the history keeps; the oldest goes first. 20,000: about 4 MB.
    pub history_faces: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { strangers_keep: Duration::from_secs(30 * 24 * 3600), history_faces: 20_000 }
    }
}

/// What forgetting a person took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The record for the journal.
    pub deletion: Deletion,
    /// Faces of the history that were like the person's photos.
    pub history_faces: usize,
}

/// Gallery, strangers and history. Cheap to clone; clones are the same memory.
#[derive(Clone)]
pub struct FaceMemory(Arc<Parts>);

struct Parts {
    gallery: SharedGallery,
    strangers: Mutex<Strangers>,
    history: Mutex<History>,
}

impl FaceMemory {
    /// Around `gallery`, with the usual options.
    ///
    /// # Errors
    /// As [`FaceMemory::with_options`]; none for a gallery that exists.
    pub fn new(gallery: Gallery) -> Result<Self, Error> {
        Self::with_options(SharedGallery::new(gallery), MemoryOptions::default())
    }

    /// Around a gallery that others may share.
    ///
    /// # Errors
    /// [`Error::BadOption`] unless the history keeps 1 to [`super::history::HISTORY_MAX`] faces.
    pub fn with_options(gallery: SharedGallery, options: MemoryOptions) -> Result<Self, Error> {
        let (model, length) = gallery.read(|gallery| (gallery.model().to_owned(), gallery.length()));
        let strangers = Mutex::new(Strangers::new(&model, options.strangers_keep));
        let history = Mutex::new(History::new(length, options.history_faces)?);
        Ok(Self(Arc::new(Parts { gallery, strangers, history })))
    }

    /// The people.
    pub fn gallery(&self) -> &SharedGallery {
        &self.0.gallery
    }

    /// Looks at the strangers, or changes them.
    pub fn strangers<T>(&self, work: impl FnOnce(&mut Strangers) -> T) -> T {
        work(&mut locked(&self.0.strangers))
    }

    /// Looks at the history, or changes it.
    pub fn history<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut locked(&self.0.history))
    }

    /// The `wanted` faces most like `photo` that were seen in `range`, with their similarity, best first.
    ///
    /// # Errors
    /// As [`History::search`].
    pub fn search(&self, photo: &Embedding, range: Range<WallTime>, wanted: usize) -> Result<Vec<(f32, Seen)>, Error> {
        self.history(|history| history.search(photo, range, wanted))
    }

    /// Makes a person of a group of strangers, who agreed to it. The group is gone then.
    ///
    /// # Errors
    /// [`Error::BadOption`] if there is no such group; those of [`Gallery::allow`], and the group stays.
    pub fn name_stranger(&self, group: u64, person: &Name, consent: Consent) -> Result<(), Error> {
        let rows = self.strangers(|strangers| strangers.rows(group))?;
        self.0.gallery.change(|gallery| gallery.allow(person, &rows, consent))?;
        self.strangers(|strangers| strangers.forget(group));
        Ok(())
    }

    /// Forgets a person, and every face of the history that is like one of the person's photos.
    ///
    /// # Errors
    /// As [`Gallery::forget`]; nothing is changed then.
    pub fn forget(&self, person: &Name, by: &str, at: WallTime, text: &str) -> Result<Forgotten, Error> {
        let (rows, deletion) = self.0.gallery.change(|gallery| {
            let rows: Result<Vec<Embedding>, Error> = gallery.rows(person).into_iter().map(Embedding::new).collect();
            Ok::<_, Error>((rows?, gallery.forget(person, by, at, text)?))
        })?;
        let history_faces = self.history(|history| {
            rows.iter().map(|row| history.forget_like(row, SAME_PERSON)).sum::<Result<usize, Error>>()
        })?;
        Ok(Forgotten { deletion, history_faces })
    }

    /// Adds a stranger's face; gives the group.
    pub(super) fn meet(&self, at: MonoTime, face: &Embedding) -> u64 {
        self.strangers(|strangers| strangers.add(at, face))
    }
}

impl fmt::Debug for FaceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.gallery.fmt(f)
    }
}

/// A panic under the lock leaves whole rows behind: every change writes its row before it counts it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
