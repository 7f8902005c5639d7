//! [`Faces`]: the people whose faces a site knows, kept sealed; and what makes numbers of an uploaded photo.
//!
//! The gallery is one file, sealed by [`godvision_vision::face::vault`] with a key of its own from the secret store; a
//! small picture of each person is sealed beside the secrets. Strangers and the history of faces live in memory and end
//! with the program, so their groups are numbered by run.
//!
//! A change is made in memory, written to a new file that takes the old one's name, and taken back if that fails.
//!
//! **Never:** a face, its numbers or its picture in clear on the disk; a person on the allow list without the words of
//! their consent; a door.

use std::collections::HashSet;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use godvision_core::{Clock, Name, WallTime};
use godvision_vision::face::enrol::{EnrolPhoto, Enrolment, FaceEnroller, Offer, PhotoFault};
use godvision_vision::face::gallery::{Consent, Deletion, Gallery, List, PHOTOS_MAX, Person, PersonRows, WatchReason};
use godvision_vision::face::history::Seen;
use godvision_vision::face::memory::{FaceMemory, Forgotten};
use godvision_vision::face::vault::{self, VaultKey};
use godvision_vision::face::{Embedding, Face};
use godvision_vision::{RgbImage, RgbView};
use tokio::sync::{OnceCell, Semaphore};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Secrets, Settings, StoreError, hex, private_file, random, unhex};

/// The sealed gallery's file name in the data folder.
pub const FACES_FILE: &str = "faces.vault";
/// Largest photo that is taken, in bytes: a page sends them reduced to some 300 kB.
pub const PHOTO_BYTES_MAX: usize = 4 << 20;
/// Longest side of a photo that is taken, in pixels.
pub const PHOTO_SIDE_MAX: usize = 4096;
/// Most photos of one person in one enrolment.
pub const ENROL_PHOTOS_MAX: usize = PHOTOS_MAX;
/// Photos that wait for their turn; more are told to come back.
const PHOTOS_WAITING_MAX: usize = 16;
/// Longer side of the picture that is kept of a person.
const PORTRAIT_SIDE: usize = 240;
/// Largest picture that is kept of a person: that of a sighting.
const PORTRAIT_BYTES_MAX: usize = 64 * 1024;
/// The embedder whose rows the gallery holds, and how long they are. A test holds them against the library.
const MODEL: (&str, usize) = ("sface-2021dec-int8", 128);
const KEY_SECRET: &str = "faces-key";
const RUN_SETTING: &str = "faces:run";

/// Why a photo, or what was asked of faces, is no good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaceProblem {
    /// The file is no JPEG, damaged or too large.
    #[error("this is no photo that can be read: send a JPEG of at most {PHOTO_SIDE_MAX} pixels a side and 4 MiB")]
    NoPhoto,
    /// The photo shows nobody well enough.
    #[error(transparent)]
    Photo(#[from] PhotoFault),
    /// It shows somebody else than those before.
    #[error("this photo shows somebody else than those before: give photos of one person")]
    OtherPerson,
    /// It is too like another one.
    #[error("this photo is too like another one: turn a little between them")]
    SamePicture,
    /// There are enough.
    #[error("{ENROL_PHOTOS_MAX} photos are enough")]
    Enough,
    /// The library refused; its words say what to do.
    #[error("{0}")]
    Refused(String),
}

impl FaceProblem {
    /// `no_photo`, `no_face`, `many_faces`, `too_far`, ...
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPhoto => "no_photo",
            Self::Photo(fault) => fault.code(),
            Self::OtherPerson => "other_person",
            Self::SamePicture => "same_picture",
            Self::Enough => "enough",
            Self::Refused(_) => "refused",
        }
    }
}

/// Photos of one person that were looked at: rows to enrol, and what became of each photo.
pub struct Prepared {
    /// `None` if no photo serves.
    pub rows: Option<PersonRows>,
    /// What is wrong with each photo, in their order.
    pub photos: Vec<Option<FaceProblem>>,
    portrait: Option<Vec<u8>>,
}

/// The faces. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Faces {
    memory: FaceMemory,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    /// When this run began, and which it is.
    since: WallTime,
    run: u64,
    path: Arc<PathBuf>,
    /// Made with the first person: without a gallery there is nothing to open.
    key: Arc<OnceCell<VaultKey>>,
    /// One change at a time, memory and file together.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Made with the first photo: it holds the models.
    enroller: Arc<Mutex<Option<FaceEnroller>>>,
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

fn refused(error: &godvision_vision::Error) -> StoreError {
    StoreError::Face(FaceProblem::Refused(error.to_string()))
}

impl Faces {
    /// Opens the gallery of `folder`, or begins an empty one.
    pub(super) async fn open(
        folder: &Path,
        secrets: Secrets,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let path = folder.join(FACES_FILE);
        let key = OnceCell::new();
        let damaged = |detail: String| StoreError::File { path: path.clone(), detail };
        let gallery = match std::fs::read(&path) {
            Ok(bytes) => {
                let text = secrets.get(KEY_SECRET).await?;
                let lost = || damaged("its key is not among the secrets: restore the database, or move it away".into());
                let opened = text.and_then(|text| unhex(text.expose())).map(VaultKey::new).ok_or_else(lost)?;
                let gallery = vault::open(&bytes, &opened).map_err(|error| damaged(error.to_string()))?;
                // Nothing else holds the cell yet.
                let _ = key.set(opened);
                gallery
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Gallery::new(MODEL.0, MODEL.1).map_err(|error| refused(&error))?
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        let run = settings.get(RUN_SETTING).await?.and_then(|run| run.parse::<u64>().ok()).unwrap_or(0) + 1;
        settings.put(RUN_SETTING, &run.to_string()).await?;
        Ok(Self {
            memory: FaceMemory::new(gallery).map_err(|error| refused(&error))?,
            since: clock.wall(),
            run,
            secrets,
            clock,
            path: Arc::new(path),
            key: Arc::new(key),
            changing: Arc::default(),
            enroller: Arc::default(),
            turns: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(PHOTOS_WAITING_MAX)),
        })
    }

    /// What components look into.
    pub fn memory(&self) -> &FaceMemory {
        &self.memory
    }

    /// What a sighting calls a group of strangers: their numbers begin anew with every run, so the run is in it.
    pub fn group_name(&self, group: u64) -> String {
        format!("#{}-{group}", self.run)
    }

    /// When this run, and so every group of strangers, began.
    pub fn since(&self) -> WallTime {
        self.since
    }

    /// Everybody, by name.
    pub fn persons(&self) -> Vec<Person> {
        self.memory.gallery().read(Gallery::persons)
    }

    /// Who was forgotten, newest first, at most `limit`.
    pub fn deletions(&self, limit: usize) -> Vec<Deletion> {
        self.memory.gallery().read(|gallery| {
            let all = gallery.deletions();
            let skip = all.len().saturating_sub(limit);
            let mut last: Vec<Deletion> = all.skip(skip).cloned().collect();
            last.reverse();
            last
        })
    }

    /// Groups of strangers: number and faces seen, the most seen first.
    pub fn strangers(&self) -> Vec<(u64, u64)> {
        let mut groups: Vec<(u64, u64)> = self.memory.strangers(|strangers| strangers.groups().collect());
        groups.sort_by_key(|&(group, faces)| (std::cmp::Reverse(faces), group));
        groups
    }

    /// Looks at photos of one person, in their order. Half a second for eight of them.
    ///
    /// # Errors
    /// [`StoreError::Busy`]; [`StoreError::Face`] if the models fail. A bad photo is no error.
    pub async fn prepare(&self, photos: Vec<Bytes>) -> Result<Prepared, StoreError> {
        self.on_a_thread(move |enroller| {
            let mut enrolment = Enrolment::of_model(enroller.model());
            let (mut problems, mut portrait) = (Vec::with_capacity(photos.len()), None);
            for (index, photo) in photos.iter().enumerate() {
                let problem = match decode(photo).filter(|_| index < ENROL_PHOTOS_MAX) {
                    None if index >= ENROL_PHOTOS_MAX => Some(FaceProblem::Enough),
                    None => Some(FaceProblem::NoPhoto),
                    Some(picture) => match enroller.look(picture.view())? {
                        Err(fault) => Some(fault.into()),
                        Ok(seen) => {
                            let offer = enrolment.offer(&seen.embedding, &seen.quality)?;
                            if portrait.is_none() && matches!(offer, Offer::Taken { .. }) {
                                portrait = portrait_of(picture.view(), &seen.face);
                            }
                            problem_of(offer)
                        }
                    },
                };
                problems.push(problem);
            }
            let rows = if enrolment.photos() > 0 { Some(enrolment.finish()?) } else { None };
            Ok(Prepared { rows, photos: problems, portrait })
        })
        .await
    }

    /// The numbers of the one face of a photo.
    ///
    /// # Errors
    /// [`StoreError::Face`] if it shows nobody well enough, [`StoreError::Busy`].
    pub async fn look(&self, photo: Bytes) -> Result<Embedding, StoreError> {
        let seen = self.on_a_thread(move |enroller| match decode(&photo) {
            None => Ok(Err(FaceProblem::NoPhoto)),
            Some(picture) => Ok(enroller.look(picture.view())?.map_err(FaceProblem::from)),
        });
        let EnrolPhoto { embedding, .. } = seen.await??;
        Ok(embedding)
    }

    /// Puts a person who agreed on the allow list, or one on the watch list. `words` are those of the consent, or the
    /// reason to watch; `by` whose they are.
    ///
    /// # Errors
    /// [`StoreError::Face`] if the name is taken or words are missing; others if it cannot be kept. Then nothing has
    /// changed.
    pub async fn enrol(
        &self,
        person: &Name,
        list: List,
        prepared: &Prepared,
        by: &str,
        words: &str,
    ) -> Result<(), StoreError> {
        let rows = prepared.rows.as_ref().ok_or(StoreError::Face(FaceProblem::NoPhoto))?;
        let at = self.clock.wall();
        self.change(|memory| {
            memory.gallery().change(|gallery| match list {
                List::Allow => gallery.allow(person, rows, Consent::given(by, at, words)?),
                List::Watch => gallery.watch(person, rows, WatchReason::given(by, at, words)?),
            })
        })
        .await?;
        match &prepared.portrait {
            Some(portrait) => self.secrets.put_bytes(&portrait_name(person), portrait, PORTRAIT_BYTES_MAX).await,
            None => Ok(()),
        }
    }

    /// Makes a person who agreed of a group of strangers; `portrait` is a picture of one of their sightings.
    ///
    /// # Errors
    /// As [`Faces::enrol`], and if there is no such group any more.
    pub async fn name_stranger(
        &self,
        group: u64,
        person: &Name,
        by: &str,
        words: &str,
        portrait: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let at = self.clock.wall();
        self.change(|memory| memory.name_stranger(group, person, Consent::given(by, at, words)?)).await?;
        match portrait {
            Some(portrait) => self.secrets.put_bytes(&portrait_name(person), &portrait, PORTRAIT_BYTES_MAX).await,
            None => Ok(()),
        }
    }

    /// Forgets a person: rows, picture, and the faces of the history that are like theirs. The deletion is recorded.
    ///
    /// # Errors
    /// As [`Faces::enrol`].
    pub async fn forget(&self, person: &Name, by: &str, why: &str) -> Result<Forgotten, StoreError> {
        let at = self.clock.wall();
        // The picture first: what is forgotten by half is not forgotten.
        self.secrets.remove(&portrait_name(person)).await?;
        self.change(|memory| memory.forget(person, by, at, why)).await
    }

    /// The picture kept of a person.
    ///
    /// # Errors
    /// [`StoreError::Sealed`], [`StoreError::Database`].
    pub async fn portrait(&self, person: &Name) -> Result<Option<Bytes>, StoreError> {
        Ok(self.secrets.get_bytes(&portrait_name(person)).await?.map(Bytes::from))
    }

    /// Who has a picture.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn portraits(&self) -> Result<HashSet<String>, StoreError> {
        let names = self.secrets.names(PORTRAIT).await?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(PORTRAIT)).map(str::to_owned).collect())
    }

    /// The faces most like `photo` that were seen in `range`, best first.
    ///
    /// # Errors
    /// [`StoreError::Face`].
    pub fn search(
        &self,
        photo: &Embedding,
        range: Range<WallTime>,
        wanted: usize,
    ) -> Result<Vec<(f32, Seen)>, StoreError> {
        self.memory.search(photo, range, wanted).map_err(|error| refused(&error))
    }

    async fn change<T>(
        &self,
        change: impl FnOnce(&FaceMemory) -> Result<T, godvision_vision::Error>,
    ) -> Result<T, StoreError> {
        let _turn = self.changing.lock().await;
        let before = self.memory.gallery().read(Gallery::clone);
        let done = change(&self.memory).map_err(|error| refused(&error))?;
        if let Err(error) = self.save().await {
            self.memory.gallery().replace(before);
            return Err(error);
        }
        Ok(done)
    }

    async fn save(&self) -> Result<(), StoreError> {
        let nonce = random::<{ vault::NONCE_BYTES }>()?;
        let key = self.key.get_or_try_init(|| new_key(&self.secrets)).await?;
        let sealed = self.memory.gallery().read(|gallery| vault::seal(gallery, key, nonce));
        let sealed = sealed.map_err(|error| refused(&error))?;
        let path = Arc::clone(&self.path);
        let failed = |path: &Path, detail: String| StoreError::File { path: path.to_owned(), detail };
        let written = tokio::task::spawn_blocking(move || {
            let part = path.with_extension("vault.part");
            let write = || {
                // What an earlier try left is in the way of a private file.
                match std::fs::remove_file(&part) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let mut file = private_file().open(&part)?;
                file.write_all(&sealed)?;
                file.sync_all()?;
                std::fs::rename(&part, &*path)
            };
            write().map_err(|error| failed(&path, error.to_string()))
        });
        written.await.map_err(|error| failed(&self.path, error.to_string()))?
    }

    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut FaceEnroller) -> Result<T, godvision_vision::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _place = self.waiting.try_acquire().map_err(|_| StoreError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| StoreError::Busy)?;
        let enroller = Arc::clone(&self.enroller);
        let done = tokio::task::spawn_blocking(move || {
            let mut enroller = enroller.lock().unwrap_or_else(PoisonError::into_inner);
            let made = match enroller.take() {
                Some(made) => made,
                None => FaceEnroller::new()?,
            };
            let result = work(enroller.insert(made));
            drop(turn);
            result
        });
        let done = done.await.map_err(|error| StoreError::Face(FaceProblem::Refused(error.to_string())))?;
        done.map_err(|error| refused(&error))
    }
}

async fn new_key(secrets: &Secrets) -> Result<VaultKey, StoreError> {
    let key = random::<32>()?;
    secrets.put(KEY_SECRET, &hex(&key).into()).await?;
    Ok(VaultKey::new(key))
}

/// Before the person's name in the name of their picture's secret.
const PORTRAIT: &str = "face:";

fn portrait_name(person: &Name) -> String {
    format!("{PORTRAIT}{person}")
}

fn problem_of(offer: Offer) -> Option<FaceProblem> {
    match offer {
        Offer::Taken { .. } => None,
        Offer::Poor(concern) => Some(PhotoFault::Poor(concern).into()),
        Offer::SamePicture => Some(FaceProblem::SamePicture),
        Offer::OtherPerson { .. } => Some(FaceProblem::OtherPerson),
        Offer::Enough => Some(FaceProblem::Enough),
    }
}

/// A JPEG as a picture; `None` if it is none, damaged, or larger than allowed.
fn decode(jpeg: &[u8]) -> Option<RgbImage> {
    if jpeg.len() > PHOTO_BYTES_MAX {
        return None;
    }
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(PHOTO_SIDE_MAX)
        .set_max_height(PHOTO_SIDE_MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    let pixels = decoder.decode().ok()?;
    let info = decoder.info()?;
    RgbImage::new(pixels, usize::from(info.width), usize::from(info.height)).ok()
}

/// The face with a margin, small: what a list shows of a person.
fn portrait_of(photo: RgbView<'_>, face: &Face) -> Option<Vec<u8>> {
    let [left, top, right, bottom] = face.bounds;
    let margin = (right - left).max(bottom - top) * 0.4;
    let within = |value: f32, most: usize| value.clamp(0.0, most as f32) as usize;
    let (left, right) = (within(left - margin, photo.width()), within(right + margin, photo.width()));
    let (top, bottom) = (within(top - margin, photo.height()), within(bottom + margin, photo.height()));
    let part = photo.crop([left, top, right, bottom])?;
    // Whole boxes of pixels are averaged; never enlarged.
    let by = part.width().max(part.height()).div_ceil(PORTRAIT_SIDE);
    let (width, height) = (part.width() / by, part.height() / by);
    let mut small = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let rows = (y * by..(y + 1) * by).map(|y| part.row(y));
                let sum: usize = rows
                    .map(|row| (x * by..(x + 1) * by).map(|x| usize::from(row[x * 3 + channel])).sum::<usize>())
                    .sum();
                small.push(u8::try_from(sum / (by * by)).unwrap_or(u8::MAX));
            }
        }
    }
    let mut jpeg = Vec::new();
    let (width, height) = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 85);
    encoder.encode(&small, width, height, jpeg_encoder::ColorType::Rgb).ok()?;
    Some(jpeg).filter(|jpeg| jpeg.len() <= PORTRAIT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_vision::face::{FaceEmbedder as _, SFace};

    #[test]
    fn the_gallery_is_of_the_librarys_model() {
        let embedder = SFace::new().unwrap();
        assert_eq!(embedder.model(), MODEL.0);
    }

    #[test]
    fn what_is_no_photo_is_none() {
        for bytes in [&b""[..], b"\xff\xd8", b"\xff\xd8\xff\xd9", b"GIF89a", &[0; 1000]] {
            assert!(decode(bytes).is_none());
        }
        assert!(decode(&vec![0; PHOTO_BYTES_MAX + 1]).is_none());
    }
}
