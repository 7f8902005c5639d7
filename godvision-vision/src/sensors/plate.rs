//! Unit `plate`. Pictures in, sightings of plates out; motion is its alarm clock.
//!
//! A thin shell over [`PlateReader`] and [`PlateVotes`]. The folder of models is read once, when the component starts; if
//! it is not there, the component says which command fills it and stops, and the site runs on.
//!
//! What stands still is read a few times and then only every five seconds: a parked car costs next to nothing.
//!
//! **Never:** a decision about what a plate is good for; a text that is not settled by several frames.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Delivery, Fault, Kind, Output, ParamError, ParamKind, ParamSpec, ParamValue, Params, PortSpec,
    ServiceProfile, ServiceTime, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::Level;
use godvision_core::signal::media::Picture;
use godvision_core::signal::seen::{Finding, Region, Sighting};
use godvision_core::{Name, Secret};

use super::alarm::{self, Alarm};
use crate::crop::jpeg_crop;
use crate::error::Error;
use crate::plane::LumaView;
use crate::plate::still::StillPlaces;
use crate::plate::vote::Settled;
use crate::plate::{Country, FETCH_COMMAND, PlateOptions, PlateReader, PlateVotes, RECOGNISER_FILE, VoteOptions};

/// With motion as the alarm clock: how often a quiet picture is looked at all the same, for a car that stands.
const IDLE_EVERY: Duration = Duration::from_secs(2);

/// Longest side of a sighting's crop: a car's front around the plate, at the size at which it can be recognised.
const CROP_SIDE: usize = 480;

/// Makes plate readers: inputs `pictures` and `motion` (which may stay unlinked), output `sightings`.
#[derive(Debug)]
pub struct PlateUnit(UnitSpec);

impl Default for PlateUnit {
    fn default() -> Self {
        Self::new()
    }
}

impl PlateUnit {
    /// The unit.
    pub fn new() -> Self {
        let span = |min, max| ParamKind::Seconds { min, max };
        let usual = VoteOptions::default();
        let countries = Country::ALL.iter().map(|country| country.code().to_owned()).collect();
        let mut params = alarm::params(0.05, 0.2).to_vec();
        params.extend([
            ParamSpec::with_default("models", ParamKind::Text, "models", "the folder with the recogniser's file"),
            ParamSpec::with_default(
                "countries",
                ParamKind::Texts,
                ParamValue::Texts(countries),
                "whose forms correct what was read: RU DE FR IT ES PL NL US; name only those you see",
            ),
            ParamSpec::with_default(
                "agreeing",
                ParamKind::Integer { min: 1, max: 32 },
                i64::from(usual.agreeing),
                "how many frames must have read the same text",
            ),
            ParamSpec::with_default(
                "again_after",
                span(0.5, 3600.0),
                usual.gone_after.as_secs_f64(),
                "a plate is reported again only after it was away for so long",
            ),
        ]);
        Self(UnitSpec {
            name: "plate",
            about: "reads number plates",
            kind: Kind::Complex,
            inputs: alarm::inputs(),
            outputs: vec![PortSpec::output::<Sighting>("sightings")],
            params,
        })
    }
}

/// By `examples/service_times`, AMD EPYC (Zen 4), one quiet core, the hop to a blocking thread included.
const PROFILE: &[ServiceProfile] = &[
    ServiceProfile { input: "pictures", condition: "1080p, no plate", time: ServiceTime::micros(7600, 800) },
    ServiceProfile {
        input: "pictures",
        condition: "1080p, one plate that stands",
        time: ServiceTime::micros(14000, 13100),
    },
    ServiceProfile {
        input: "pictures",
        condition: "1080p, things that look like plates",
        time: ServiceTime::micros(20000, 26200),
    },
];

impl Unit for PlateUnit {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }

    fn profile(&self) -> &'static [ServiceProfile] {
        PROFILE
    }

    fn create(&self, _: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let codes = params.texts("countries");
        let countries: Option<Vec<Country>> = codes.iter().map(|code| Country::of(code)).collect();
        let countries =
            countries.ok_or_else(|| params.error("countries", "RU, DE, FR, IT, ES, PL, NL or US".to_owned()))?;
        let usual = VoteOptions::default();
        let votes = VoteOptions {
            agreeing: params.integer("agreeing").and_then(|count| count.try_into().ok()).unwrap_or(usual.agreeing),
            gone_after: params.seconds("again_after").unwrap_or(usual.gone_after),
        };
        votes.check().map_err(|error| params.error("agreeing", error.to_string()))?;
        Ok(Box::new(PlateSensor {
            models: PathBuf::from(params.text("models").unwrap_or("models")),
            options: PlateOptions { countries, ..PlateOptions::default() },
            votes,
            alarm: Alarm::new(params, IDLE_EVERY),
            reader: None,
        }))
    }
}

struct PlateSensor {
    models: PathBuf,
    options: PlateOptions,
    votes: VoteOptions,
    alarm: Alarm,
    reader: Option<(PlateReader, PlateVotes, StillPlaces)>,
}

impl Component for PlateSensor {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if let Err(reason) = self.load().await {
                cx.log(Level::Warning, "plate_models_missing", reason.clone()).await;
                return Err(Fault::Fatal(reason));
            }
            let mut ports = alarm::Ports::of(cx)?;
            while let Some(picture) = ports.next_due(&mut self.alarm).await {
                self.read(&picture, &ports.sightings).await?;
            }
            Ok(())
        })
    }
}

impl PlateSensor {
    async fn load(&mut self) -> Result<(), String> {
        let path = self.models.join(RECOGNISER_FILE);
        let (options, votes, agreeing) = (self.options.clone(), self.votes, self.votes.agreeing);
        let work = tokio::task::spawn_blocking(move || {
            let bytes = std::fs::read(&path).map_err(|error| {
                let file = path.display();
                format!("number plates need the model {file} ({error}): fill the folder with `{FETCH_COMMAND}`")
            })?;
            let reader = PlateReader::new(options, bytes).map_err(|error| error.to_string())?;
            let votes = PlateVotes::new(votes).map_err(|error| error.to_string())?;
            // One reading more than must agree: it may have been the one misread.
            Ok::<_, String>((reader, votes, StillPlaces::new(agreeing + 1)))
        });
        self.reader = Some(work.await.map_err(|error| format!("the plate reader: {error}"))??);
        Ok(())
    }

    async fn read(&mut self, picture: &Delivery<Picture>, sightings: &Output<Sighting>) -> Result<(), Fault> {
        let Some((mut reader, mut votes, mut still)) = self.reader.take() else {
            return Err(Fault::Restart("the plate reader was lost with a picture".into()));
        };
        let moved: Vec<Region> = self.alarm.moved().iter().map(|&region| with_surroundings(region)).collect();
        let shown = Picture::clone(picture);
        let work = tokio::task::spawn_blocking(move || {
            let settled = look(&mut reader, &mut votes, &mut still, &shown, &moved);
            let settled = settled.map(|settled| settled.into_iter().map(|it| sighting(&shown, it)).collect::<Vec<_>>());
            ((reader, votes, still), settled)
        });
        let (reader, found) = work.await.map_err(|error| Fault::Restart(format!("the plate reader: {error}")))?;
        self.reader = Some(reader);
        for sighting in found.map_err(|error| Fault::Restart(error.to_string()))? {
            sightings.send_from(picture, sighting);
        }
        Ok(())
    }
}

/// What moves of a car at night may be its lamps; the plate is between or below them. Half of the region's size is added
/// on each side.
fn with_surroundings(region: Region) -> Region {
    let (x, y) = (region.right.saturating_sub(region.left) / 2, region.bottom.saturating_sub(region.top) / 2);
    Region {
        left: region.left.saturating_sub(x),
        top: region.top.saturating_sub(y),
        right: region.right.saturating_add(x).min(1000),
        bottom: region.bottom.saturating_add(y).min(1000),
    }
}

fn look(
    reader: &mut PlateReader,
    votes: &mut PlateVotes,
    still: &mut StillPlaces,
    picture: &Picture,
    moved: &[Region],
) -> Result<Vec<Settled>, Error> {
    let (luma, now) = (LumaView::of(&picture.luma)?, picture.at.mono);
    let mut plates = Vec::new();
    for place in reader.find(luma, moved)? {
        if still.is_known(luma, &place, now) {
            votes.hold(&place, picture.at);
        } else {
            still.note(luma, place, now);
            plates.extend(reader.read_at(luma, place)?);
        }
    }
    Ok(votes.add(&plates, picture.at))
}

fn sighting(picture: &Picture, settled: Settled) -> Sighting {
    let region = settled.place.region(picture.luma.width, picture.luma.height);
    Sighting {
        source: picture.source.clone(),
        at: picture.at,
        sequence: picture.sequence,
        region,
        finding: Finding::Plate(Secret::from(settled.text.as_str())),
        score: (settled.score * 1000.0) as u16,
        crop: jpeg_crop(picture, region, CROP_SIDE),
    }
}
