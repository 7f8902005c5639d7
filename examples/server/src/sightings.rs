//! [`SightingsUnit`]: keeps what analyses saw, with its picture, and says so in the journal.
//!
//! A sighting is kept first; its journal entry then names it (`sighting`), so that whoever reads the line can look at the
//! picture. What is watched for is an entry of the level security; everything else is everyday.
//!
//! **Never:** the text of a code, which may be a pass; a plate in the journal unless it is watched for, since the journal
//! cannot forget; opening anything.

use std::time::Duration;

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Fault, Kind, ParamError, ParamKind, ParamSpec, Params, Policy, PortSpec, Unit, UnitSpec,
};
use godvision_core::journal::{BoxFuture, Entry, Level};
use godvision_core::signal::seen::{Finding, Sighting};
use godvision_vision::plate::PlateText;

use crate::store::{CROPS_BYTES_MAX, KEPT_FOR, NewSighting, PlateMatch, SightingLimits, Standing, Store};

/// Sightings that wait to be kept, at most 64 KiB each. None is dropped: some are what an owner watches for.
const SIGHTINGS_WAITING: usize = 256;
const SECONDS_PER_DAY: u64 = 24 * 3600;
const MIB: u64 = 1 << 20;

/// Makes components `sightings`: one for all cameras.
pub struct SightingsUnit {
    store: Option<Store>,
    spec: UnitSpec,
}

impl SightingsUnit {
    /// A unit that keeps in `store`. Without one its components can be checked but not run.
    pub fn new(store: Option<Store>) -> Self {
        let days = i64::try_from(KEPT_FOR.as_secs() / SECONDS_PER_DAY).unwrap_or(30);
        let mib = i64::try_from(CROPS_BYTES_MAX / MIB).unwrap_or(2048);
        let spec = UnitSpec {
            name: "sightings",
            about: "keeps what was read or recognised, with its picture",
            kind: Kind::Sink,
            inputs: vec![PortSpec::input::<Sighting>("sightings", Policy::Lossless { capacity: SIGHTINGS_WAITING })],
            outputs: vec![],
            params: vec![
                ParamSpec::with_default(
                    "days",
                    ParamKind::Integer { min: 1, max: 3650 },
                    days,
                    "how long sightings are kept",
                ),
                ParamSpec::with_default(
                    "mib",
                    ParamKind::Integer { min: 1, max: 1 << 20 },
                    mib,
                    "how much room their pictures may take; the oldest go first",
                ),
            ],
        };
        Self { store, spec }
    }
}

impl Unit for SightingsUnit {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let number = |key, usual| params.integer(key).and_then(|it| u64::try_from(it).ok()).unwrap_or(usual);
        let limits = SightingLimits {
            kept_for: Duration::from_secs(number("days", 30) * SECONDS_PER_DAY),
            crops_bytes_max: number("mib", 2048) * MIB,
            ..SightingLimits::default()
        };
        Ok(Box::new(Keeping { store: self.store.clone(), limits }))
    }
}

struct Keeping {
    store: Option<Store>,
    limits: SightingLimits,
}

impl Component for Keeping {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut sightings = cx.input::<Sighting>("sightings")?;
            let store =
                self.store.clone().ok_or_else(|| Fault::Fatal("there is no store to keep sightings in".into()))?;
            store.sightings().set_limits(self.limits).await;
            while let Some(sighting) = sightings.recv().await {
                keep(cx, &store, sighting.into_value()).await;
            }
            Ok(())
        })
    }
}

async fn keep(cx: &Context, store: &Store, sighting: Sighting) {
    let Sighting { source, at, region, finding, score, crop, .. } = sighting;
    let said = said(store, &finding, at.wall);
    let new = NewSighting {
        at: at.wall,
        camera: source.clone(),
        kind: finding.kind(),
        subject: said.subject,
        owner: said.owner,
        standing: said.standing,
        near: said.near,
        score,
        region,
        crop,
    };
    let mut entry = Entry::new(at, source.clone(), said.level, said.code, said.text);
    match store.sightings().keep(new).await {
        Ok(id) => entry = entry.with("sighting", id),
        Err(error) => {
            let text = format!("a sighting of {source} was not kept: {error}");
            cx.log(Level::Error, "sighting.lost", text).await;
        }
    }
    if let Some((name, value)) = said.field {
        entry = entry.with(name, value);
    }
    if let Err(error) = cx.journal().append(entry).await {
        tracing::error!(component = %cx.name(), %error, "the journal does not say what was seen");
    }
}

/// A sighting in words and in columns.
struct Said {
    subject: Option<String>,
    owner: Option<String>,
    standing: Option<&'static str>,
    near: Option<String>,
    level: Level,
    code: &'static str,
    text: String,
    field: Option<(&'static str, String)>,
}

impl Said {
    fn new(level: Level, code: &'static str, text: impl Into<String>) -> Self {
        let (subject, owner, standing, near, field) = (None, None, None, None, None);
        Self { subject, owner, standing, near, level, code, text: text.into(), field }
    }
}

fn said(store: &Store, finding: &Finding, at: godvision_core::WallTime) -> Said {
    match finding {
        Finding::Plate(text) => plate(store, text.expose(), at),
        Finding::Face { person, live } => {
            let text = if *live { "was recognised" } else { "was recognised, without a liveness check" };
            let said = Said::new(Level::Info, "sighting.face", format!("{person} {text}"));
            Said { subject: Some(person.to_string()), field: Some(("person", person.to_string())), ..said }
        }
        Finding::Watched { person } => {
            let text = format!("{person}, who is on the watch list, was seen");
            let said = Said::new(Level::Security, "sighting.watched", text);
            Said { subject: Some(person.to_string()), field: Some(("person", person.to_string())), ..said }
        }
        Finding::Stranger { group } => {
            let said = Said::new(Level::Info, "sighting.stranger", "a face that nobody knows was seen");
            Said { subject: group.map(|group| store.faces().group_name(group)), ..said }
        }
        // What a code says is between its holder and the door.
        Finding::Qr(_) => Said::new(Level::Info, "sighting.qr", "a QR code was shown"),
        other => Said::new(Level::Info, "sighting.other", format!("a {} was seen", other.kind())),
    }
}

fn plate(store: &Store, text: &str, at: godvision_core::WallTime) -> Said {
    let said = Said::new(Level::Info, "sighting.plate", "a number plate was read");
    // A reader gives nothing else; if one does, it is shown as it came.
    let Ok(plate) = text.parse::<PlateText>() else { return Said { subject: Some(text.to_owned()), ..said } };
    let said = Said { subject: Some(plate.to_string()), ..said };
    match store.plates().look_up(&plate, at) {
        PlateMatch::Known { owner, standing: Standing::Watch, is_current: true } => Said {
            level: Level::Security,
            code: "sighting.watched",
            text: format!("the number plate {plate}, which is on the watch list, was read"),
            field: Some(("plate", plate.to_string())),
            owner: Some(owner),
            standing: Some("watch"),
            ..said
        },
        PlateMatch::Known { owner, standing, is_current } => {
            let standing = if is_current { standing.code() } else { "outside" };
            let text = "a number plate of the list was read".to_owned();
            Said { owner: Some(owner), standing: Some(standing), text, ..said }
        }
        PlateMatch::Near(near) => {
            let near: Vec<String> = near.iter().map(ToString::to_string).collect();
            Said { near: Some(near.join(" ")), ..said }
        }
        PlateMatch::Unknown => said,
    }
}
