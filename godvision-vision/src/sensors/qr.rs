//! Unit `qr`: a thin shell over [`QrReader`]. Pictures in, sightings of codes out; motion is its alarm clock.
//!
//! **Never:** a picture of a code that can be read; a decision about what a code is good for.

#![forbid(unsafe_code)]

use std::time::Duration;

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Delivery, Fault, Kind, Output, ParamError, ParamKind, ParamSpec, Params, PortSpec,
    ServiceProfile, ServiceTime, Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::signal::media::Picture;
use godvision_core::signal::seen::{Finding, Region, Sighting};

use super::alarm::{self, Alarm};
use crate::crop::{jpeg_crop, veiled};
use crate::plane::LumaView;
use crate::qr::{QrOptions, QrReader, engines};

/// With motion as the alarm clock: how often a quiet picture is looked at all the same.
const IDLE_EVERY: Duration = Duration::from_secs(1);

/// Longest side of a code's crop.
const CROP_SIDE: usize = 480;

/// A code and as much again on each side: who held it.
fn around(code: Region) -> Region {
    let (across, down) = (code.right.saturating_sub(code.left), code.bottom.saturating_sub(code.top));
    Region {
        left: code.left.saturating_sub(across),
        top: code.top.saturating_sub(down),
        right: (code.right + across).min(1000),
        bottom: (code.bottom + down).min(1000),
    }
}
/// Makes QR readers: inputs `pictures` and `motion` (which may stay unlinked), output `sightings`.
#[derive(Debug)]
pub struct QrUnit(UnitSpec);

impl Default for QrUnit {
    fn default() -> Self {
        Self::new()
    }
}

impl QrUnit {
    /// The unit.
    pub fn new() -> Self {
        let span = |min, max| ParamKind::Seconds { min, max };
        let mut params = alarm::params(0.02, 0.1).to_vec();
        params.extend([
            ParamSpec::with_default(
                "again_after",
                span(0.5, 3600.0),
                5.0,
                "a text is reported again only after it was away for so long",
            ),
            ParamSpec::with_default(
                "crop",
                ParamKind::Flag,
                true,
                "send a small picture of who held it, the code veiled",
            ),
        ]);
        Self(UnitSpec {
            name: "qr",
            about: "reads QR codes held up to a camera",
            kind: Kind::Complex,
            inputs: alarm::inputs(),
            outputs: vec![PortSpec::output::<Sighting>("sightings")],
            params,
        })
    }
}

/// By `examples/service_times`, AMD EPYC (Zen 4), one quiet core, the hop to a blocking thread included.
const PROFILE: &[ServiceProfile] = &[
    ServiceProfile {
        input: "pictures",
        condition: "1080p, nothing like a code",
        time: ServiceTime::micros(8100, 5400),
    },
    ServiceProfile { input: "pictures", condition: "1080p, a code held up", time: ServiceTime::micros(1200, 2000) },
];

impl Unit for QrUnit {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }

    fn profile(&self) -> &'static [ServiceProfile] {
        PROFILE
    }

    fn create(&self, _: &Name, params: &Params) -> Result<Box<dyn Component>, ParamError> {
        let usual = QrOptions::default();
        let options = QrOptions { again_after: params.seconds("again_after").unwrap_or(usual.again_after), ..usual };
        Ok(Box::new(QrSensor {
            options,
            alarm: Alarm::new(params, IDLE_EVERY),
            crops: params.flag("crop"),
            reader: None,
        }))
    }
}

struct QrSensor {
    options: QrOptions,
    alarm: Alarm,
    crops: bool,
    reader: Option<QrReader>,
}

impl Component for QrSensor {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            if engines().is_empty() {
                return Err(Fault::Fatal("this build has no QR engine: turn on the feature rxing or rqrr".into()));
            }
            let mut ports = alarm::Ports::of(cx)?;
            while let Some(picture) = ports.next_due(&mut self.alarm).await {
                self.read(cx, &picture, &ports.sightings).await?;
            }
            Ok(())
        })
    }
}

impl QrSensor {
    async fn read(
        &mut self,
        cx: &Context,
        picture: &Delivery<Picture>,
        sightings: &Output<Sighting>,
    ) -> Result<(), Fault> {
        let mut reader = self.reader.take().unwrap_or_else(|| QrReader::new(self.options));
        let (shown, moved, crops) = (Picture::clone(picture), self.alarm.moved().to_vec(), self.crops);
        let work = tokio::task::spawn_blocking(move || {
            // A plane from its own constructor is never refused.
            let found = LumaView::of(&shown.luma).map(|luma| reader.read(luma, shown.at, &moved)).unwrap_or_default();
            let news = found.into_iter().filter(|sighting| sighting.is_new);
            // The code may be a pass, and a picture of it is as good as the code: the journal gets who held it, not it.
            let veil = |region| jpeg_crop(&veiled(&shown, region), around(region), CROP_SIDE);
            let crop = |region| if crops { veil(region) } else { None };
            let news: Vec<_> = news.map(|sighting| (crop(sighting.region), sighting)).collect();
            (reader, news)
        });
        let (reader, found) = work.await.map_err(|error| Fault::Restart(format!("the QR reader: {error}")))?;
        cx.show_count("engine_panics", u64::from(reader.panics()));
        self.reader = Some(reader);
        for (crop, sighting) in found {
            let sighting = Sighting {
                source: picture.source.clone(),
                at: picture.at,
                sequence: picture.sequence,
                region: sighting.region,
                finding: Finding::Qr(sighting.text),
                score: 1000,
                crop,
            };
            sightings.send_from(picture, sighting);
        }
        Ok(())
    }
}
