//! [`Recorder`]: one camera's fragments and motion go in, clips in the spool come out.
//!
//! It joins the pure [`ClipCutter`] to the [`Spool`] and holds the one piece of behaviour that needs both: when the disk
//! fails, what was written is saved as a shorter clip, the owner is told once, and the next key frame tries again, so
//! that recording goes on as soon as there is space. Frames lost meanwhile are counted in the next clip's manifest.
//!
//! Nothing is written until [`Recorder::flush`] (or 1 MiB has gathered): call it about once a second. That is the most
//! that a power cut costs, and one write a second instead of one a frame.
//!
//! All calls block on the disk: call them off the async runtime.
//!
//! **Never:** threads, channels, clocks.

use std::sync::Arc;

use godvision_core::MonoTime;
use godvision_core::signal::media::Fragment;
use godvision_core::signal::seen::Motion;

use super::spool::{ClipWriter, Spool, SpoolEvent, free_space};
use crate::Error;
use crate::clip::{ClipAction, ClipCutter, ClipOptions, ClipSummary, RecordMode};
use crate::spool::ClipInfo;

/// Records one camera into a spool.
pub struct Recorder {
    spool: Arc<Spool>,
    cutter: ClipCutter,
    writer: Option<ClipWriter>,
    actions: Vec<ClipAction>,
    is_failing: bool,
    skipped: u64,
}

impl Recorder {
    /// A recorder with an empty pre-roll.
    pub fn new(spool: Arc<Spool>, options: ClipOptions, mode: RecordMode) -> Self {
        let cutter = ClipCutter::new(options, mode);
        Self { spool, cutter, writer: None, actions: Vec::new(), is_failing: false, skipped: 0 }
    }

    /// The clip that is being recorded.
    pub fn current(&self) -> Option<&ClipSummary> {
        self.cutter.current()
    }

    /// When it records.
    pub fn mode(&self) -> RecordMode {
        self.cutter.mode()
    }

    /// Whether the disk failed and has not been written since.
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Takes the next fragment. Failures of the disk come out as events.
    pub fn fragment(&mut self, fragment: Fragment, events: &mut Vec<SpoolEvent>) {
        self.cutter.fragment(fragment, &mut self.actions);
        let skipped = self.cutter.preroll().skipped();
        if self.is_failing && skipped > self.skipped {
            self.cutter.storage_failed(skipped - self.skipped);
        }
        self.skipped = skipped;
        self.apply(events);
    }

    /// Takes what the detector says.
    pub fn motion(&mut self, motion: &Motion, events: &mut Vec<SpoolEvent>) {
        self.cutter.motion(motion, &mut self.actions);
        self.apply(events);
    }

    /// Switches recording, at once.
    pub fn set_mode(&mut self, mode: RecordMode, events: &mut Vec<SpoolEvent>) {
        self.cutter.set_mode(mode, &mut self.actions);
        self.apply(events);
    }

    /// Says what time it is, see [`ClipCutter::tick`].
    pub fn tick(&mut self, now: MonoTime, events: &mut Vec<SpoolEvent>) {
        self.cutter.tick(now, &mut self.actions);
        self.apply(events);
    }

    /// Brings everything taken so far onto the disk.
    pub fn flush(&mut self, events: &mut Vec<SpoolEvent>) {
        let Some(writer) = &mut self.writer else { return };
        if writer.frames_pending() > 0
            && let Err(error) = writer.flush()
        {
            let lost = self.failed(error, events);
            self.cutter.storage_failed(lost);
        }
    }

    /// Completes the clip that is open: the program stops.
    pub fn finish(&mut self, events: &mut Vec<SpoolEvent>) {
        self.cutter.finish(&mut self.actions);
        self.apply(events);
    }

    fn apply(&mut self, events: &mut Vec<SpoolEvent>) {
        let mut lost = 0;
        for action in std::mem::take(&mut self.actions) {
            match action {
                ClipAction::Open(summary) => {
                    let room = self.spool.make_room(summary.started.wall, 0);
                    events.extend(room);
                    match self.begin(&summary, events) {
                        Ok(writer) => {
                            if std::mem::take(&mut self.is_failing) {
                                events.push(SpoolEvent::SpaceAgain);
                            }
                            let info = ClipInfo::of(writer.id().clone(), &summary);
                            events.push(SpoolEvent::Opened(Box::new(info)));
                            self.writer = Some(writer);
                        }
                        Err(error) => lost += summary.unrecorded_before + self.failed(error, events),
                    }
                }
                ClipAction::Append(fragment) => match &mut self.writer {
                    None => lost += 1,
                    Some(writer) => {
                        if let Err(error) = writer.append(&fragment) {
                            lost += self.failed(error, events);
                        }
                    }
                },
                ClipAction::Close(summary) => {
                    let Some(writer) = self.writer.take() else { continue };
                    match writer.finish(&summary) {
                        Ok(info) => events.push(SpoolEvent::Closed(Box::new(info))),
                        Err(failed) => {
                            let (writer, error) = *failed;
                            self.writer = Some(writer);
                            lost += self.failed(error, events);
                        }
                    }
                }
            }
        }
        if lost > 0 {
            if self.writer.is_none() {
                self.cutter.storage_failed(lost);
            } else {
                tracing::error!(lost, "frames were lost between two clips");
            }
        }
    }

    fn begin(&self, summary: &ClipSummary, events: &mut Vec<SpoolEvent>) -> Result<ClipWriter, Error> {
        self.spool.begin(summary).or_else(|error| {
            let freed = free_space(&self.spool, &error);
            if freed.is_empty() {
                return Err(error);
            }
            events.extend(freed);
            self.spool.begin(summary)
        })
    }

    /// Frees space and tries again if that can help; else saves what is there. Returns the frames lost.
    fn failed(&mut self, error: Error, events: &mut Vec<SpoolEvent>) -> u64 {
        let Some(mut writer) = self.writer.take() else {
            self.tell(None, 0, &error, events);
            return 0;
        };
        let freed = free_space(&self.spool, &error);
        if !freed.is_empty() {
            events.extend(freed);
            if writer.try_again().is_ok() {
                self.writer = Some(writer);
                return 0;
            }
        }
        let id = writer.id().clone();
        let (saved, lost) = writer.give_up(&error);
        self.tell(Some(&id), lost, &error, events);
        events.extend(saved.map(|info| SpoolEvent::Closed(Box::new(info))));
        lost
    }

    fn tell(&mut self, id: Option<&crate::spool::ClipId>, frames: u64, error: &Error, events: &mut Vec<SpoolEvent>) {
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        events.push(match error {
            Error::Full { .. } => SpoolEvent::DiskFull { id: id.cloned(), frames },
            other => {
                let cause = std::error::Error::source(other).map(|cause| format!(": {cause}")).unwrap_or_default();
                SpoolEvent::DiskFailed { id: id.cloned(), frames, detail: format!("{other}{cause}") }
            }
        });
    }
}
