//! [`Board`]: the newest state of every camera, for whoever looks; and the unit that fills it from the graph and writes
//! what is wrong with a view, or was left in it, into the journal.
//!
//! **Never:** history (the journal has it), decisions of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use godvision_core::bus::{Component, Context, Fault, Kind, ParamError, Params, Policy, PortSpec, Unit, UnitSpec};
use godvision_core::journal::{BoxFuture, Entry, Level};
use godvision_core::signal::media::StreamStatus;
use godvision_core::signal::seen::{Rest, RestKind, RestPhase, Tamper, TamperKind};
use godvision_core::{MonoTime, Name};

/// Most things at rest shown for one camera; more are in the journal only.
pub const RESTS_SHOWN_MAX: usize = 64;
/// A thing is reported every 10 s while its camera is seen; one that was not for so long is not believed any more.
const REST_LASTS: Duration = Duration::from_secs(60);
/// Reports of things and of spoilt views that wait; none is dropped.
const ALARMS_WAITING: usize = 256;

/// The newest states. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Board {
    streams: Arc<Mutex<BTreeMap<Name, StreamStatus>>>,
    views: Arc<Mutex<BTreeMap<Name, View>>>,
}

/// What is to be said about a camera's view.
#[derive(Clone, Debug, Default)]
struct View {
    rests: Vec<Rest>,
    tampers: Vec<Tamper>,
}

impl Board {
    fn streams(&self) -> MutexGuard<'_, BTreeMap<Name, StreamStatus>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn views(&self) -> MutexGuard<'_, BTreeMap<Name, View>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `camera` said last.
    pub fn stream(&self, camera: &Name) -> Option<StreamStatus> {
        self.streams().get(camera).cloned()
    }

    /// What was left or taken before `camera` and is still so, oldest first.
    pub fn rests(&self, camera: &Name, now: MonoTime) -> Vec<Rest> {
        let mut rests = self.views().get(camera).map(|view| view.rests.clone()).unwrap_or_default();
        rests.retain(|rest| now - rest.at.mono <= REST_LASTS);
        rests
    }

    /// What is wrong with the view of `camera`.
    pub fn tampers(&self, camera: &Name) -> Vec<Tamper> {
        self.views().get(camera).map(|view| view.tampers.clone()).unwrap_or_default()
    }

    fn put(&self, mut status: StreamStatus) {
        let mut streams = self.streams();
        // A camera that is lost still has the format it had.
        if status.format.is_none() {
            status.format = streams.get(&status.source).and_then(|before| before.format.clone());
        }
        streams.insert(status.source.clone(), status);
    }

    fn put_rest(&self, rest: &Rest) {
        let mut views = self.views();
        let rests = &mut views.entry(rest.source.clone()).or_default().rests;
        let known = rests.iter().position(|known| known.thing == rest.thing);
        match (known, rest.phase) {
            (Some(at), RestPhase::Over) => drop(rests.remove(at)),
            (Some(at), _) => rests[at] = rest.clone(),
            (None, RestPhase::Over) => {}
            (None, _) if rests.len() < RESTS_SHOWN_MAX => rests.push(rest.clone()),
            (None, _) => {}
        }
    }

    fn put_tamper(&self, tamper: &Tamper) {
        let mut views = self.views();
        let tampers = &mut views.entry(tamper.source.clone()).or_default().tampers;
        tampers.retain(|known| known.kind != tamper.kind);
        if !tamper.is_over {
            tampers.push(tamper.clone());
        }
    }

    /// The unit that fills this board.
    pub fn unit(&self) -> BoardUnit {
        let alarms = Policy::Lossless { capacity: ALARMS_WAITING };
        BoardUnit {
            board: self.clone(),
            spec: UnitSpec {
                name: "board",
                about: "keeps the newest state of cameras for the pages, and journals what is wrong with their views",
                kind: Kind::Sink,
                inputs: vec![
                    PortSpec::input::<StreamStatus>("streams", Policy::DropOldest { capacity: 256 }),
                    PortSpec::input::<Rest>("rests", alarms),
                    PortSpec::input::<Tamper>("tampers", alarms),
                ],
                outputs: vec![],
                params: vec![],
            },
        }
    }
}

/// Makes components that fill a [`Board`].
#[derive(Debug)]
pub struct BoardUnit {
    board: Board,
    spec: UnitSpec,
}

impl Unit for BoardUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Filling(self.board.clone())))
    }
}

struct Filling(Board);

impl Component for Filling {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut streams = cx.input::<StreamStatus>("streams")?;
            let mut rests = cx.input::<Rest>("rests")?;
            let mut tampers = cx.input::<Tamper>("tampers")?;
            let (mut more_streams, mut more_rests, mut more_tampers) = (true, true, true);
            // Until all have ended: a drain takes in what is queued.
            while more_streams || more_rests || more_tampers {
                tokio::select! {
                    status = streams.recv(), if more_streams => match status {
                        Some(status) => self.0.put(status.into_value()),
                        None => more_streams = false,
                    },
                    rest = rests.recv(), if more_rests => match rest {
                        Some(rest) => {
                            self.0.put_rest(&rest);
                            note(cx, rest_entry(&rest)).await;
                        }
                        None => more_rests = false,
                    },
                    tamper = tampers.recv(), if more_tampers => match tamper {
                        Some(tamper) => {
                            self.0.put_tamper(&tamper);
                            note(cx, Some(tamper_entry(&tamper))).await;
                        }
                        None => more_tampers = false,
                    },
                }
            }
            Ok(())
        })
    }
}

async fn note(cx: &Context, entry: Option<Entry>) {
    let Some(entry) = entry else { return };
    if let Err(error) = cx.journal().append(entry).await {
        tracing::error!(component = %cx.name(), %error, "the journal does not say what happened to a view");
    }
}

/// The line about a thing that was left or taken; none while it goes on.
fn rest_entry(rest: &Rest) -> Option<Entry> {
    let (level, code, text) = match (rest.phase, rest.kind) {
        (RestPhase::Ongoing, _) => return None,
        (RestPhase::Noticed, RestKind::Left) => (Level::Warning, "rest.noticed", "something was left"),
        (RestPhase::Noticed, RestKind::Taken) => (Level::Warning, "rest.noticed", "something was taken away"),
        (RestPhase::Noticed, RestKind::Unsure) => (Level::Warning, "rest.noticed", "something was left or taken away"),
        (RestPhase::Over, RestKind::Left) => (Level::Info, "rest.over", "what was left is no longer there"),
        (RestPhase::Over, RestKind::Taken) => (Level::Info, "rest.over", "what was taken away is back"),
        (RestPhase::Over, RestKind::Unsure) => (Level::Info, "rest.over", "the place is as it was before"),
    };
    let seconds = (rest.at.mono - rest.since.mono).as_secs();
    let region = rest.region;
    let place = format!("{},{} {},{}", region.left, region.top, region.right, region.bottom);
    let entry = Entry::new(rest.at, rest.source.clone(), level, code, text)
        .with("thing", rest.thing)
        .with("seconds", seconds)
        .with("region", place);
    Some(if rest.zones.is_empty() { entry } else { entry.with("zones", rest.zones.join(", ")) })
}

fn tamper_entry(tamper: &Tamper) -> Entry {
    let (level, text) = match (tamper.is_over, tamper.kind) {
        (false, TamperKind::Covered) => (Level::Security, "the camera is covered"),
        (false, TamperKind::Turned) => (Level::Security, "the camera was turned"),
        (false, TamperKind::Frozen) => (Level::Security, "the picture has stopped"),
        (false, TamperKind::Blurred) => (Level::Security, "the picture is blurred"),
        (true, TamperKind::Covered) => (Level::Info, "the camera is no longer covered"),
        (true, TamperKind::Turned) => (Level::Info, "the camera looks where it did, or its new view counts"),
        (true, TamperKind::Frozen) => (Level::Info, "the picture goes on"),
        (true, TamperKind::Blurred) => (Level::Info, "the picture is sharp again"),
    };
    let code = format!("tamper.{}", if tamper.is_over { "over" } else { tamper.kind.code() });
    Entry::new(tamper.at, tamper.source.clone(), level, &code, text).with("kind", tamper.kind.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use godvision_core::signal::seen::Region;
    use godvision_core::{Stamp, WallTime};

    fn rest(thing: u64, phase: RestPhase, seconds: u64) -> Rest {
        let stamp = |seconds: u64| Stamp::new(MonoTime::from_millis(seconds * 1000), WallTime::from_unix_seconds(0));
        Rest {
            source: Name::new("yard").unwrap(),
            thing,
            phase,
            kind: RestKind::Left,
            since: stamp(1),
            at: stamp(seconds),
            sequence: 7,
            region: Region::WHOLE,
            zones: vec!["gate".to_owned()],
        }
    }

    #[test]
    fn things_are_shown_until_they_are_over_or_nobody_speaks_of_them() {
        let (board, yard) = (Board::default(), Name::new("yard").unwrap());
        let shown = |seconds: u64| {
            let rests = board.rests(&yard, MonoTime::from_millis(seconds * 1000));
            rests.iter().map(|rest| rest.thing).collect::<Vec<_>>()
        };
        board.put_rest(&rest(1, RestPhase::Noticed, 10));
        board.put_rest(&rest(2, RestPhase::Noticed, 11));
        board.put_rest(&rest(1, RestPhase::Ongoing, 20));
        assert_eq!(shown(21), [1, 2]);
        assert_eq!(shown(75), [1], "the second was not heard of for a minute");
        board.put_rest(&rest(1, RestPhase::Over, 22));
        assert_eq!(shown(23), [2]);
        for thing in 3..1000 {
            board.put_rest(&rest(thing, RestPhase::Noticed, 23));
        }
        assert_eq!(shown(24).len(), RESTS_SHOWN_MAX);
    }

    #[test]
    fn what_goes_on_is_not_journalled_again() {
        assert_eq!(rest_entry(&rest(1, RestPhase::Ongoing, 20)), None);
        let noticed = rest_entry(&rest(1, RestPhase::Noticed, 11)).unwrap();
        assert_eq!((noticed.level, &*noticed.text), (Level::Warning, "something was left"));
        assert!(noticed.fields.contains(&("seconds", "10".to_owned())), "{:?}", noticed.fields);
        assert_eq!(rest_entry(&rest(1, RestPhase::Over, 22)).unwrap().level, Level::Info);
    }

    #[test]
    fn a_spoilt_view_is_an_alarm_until_it_is_over() {
        let (board, yard) = (Board::default(), Name::new("yard").unwrap());
        let at = Stamp::new(MonoTime::ZERO, WallTime::from_unix_seconds(0));
        let covered = Tamper { source: yard.clone(), kind: TamperKind::Covered, is_over: false, at, sequence: 1 };
        let entry = tamper_entry(&covered);
        assert_eq!((entry.level, &*entry.code), (Level::Security, "tamper.covered"));
        board.put_tamper(&covered);
        board.put_tamper(&covered);
        assert_eq!(board.tampers(&yard).len(), 1);
        let over = Tamper { is_over: true, ..covered };
        board.put_tamper(&over);
        assert_eq!((board.tampers(&yard).len(), tamper_entry(&over).level), (0, Level::Info));
    }
}
