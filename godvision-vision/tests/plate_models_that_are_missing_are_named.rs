//! The unit `plate` without its model folder: the journal says which command fills it; the rest of the site runs on.

#![cfg(all(feature = "plate", feature = "component"))]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::Name;
use godvision_core::bus::{
    Component, Context, Fault, Host, HostOptions, Kind, ParamError, ParamValue, Params, Policy, PortSpec, Registry,
    Unit, UnitSpec,
};
use godvision_core::driver::BoxFuture;
use godvision_core::journal::{MemoryJournal, Query};
use godvision_core::signal::media::{Picture, Plane};
use godvision_core::site::SiteDocument;
use godvision_core::{Clock, SystemClock};
use godvision_vision::sensors::PlateUnit;

struct Film(UnitSpec);
struct Showing;

impl Unit for Film {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Showing))
    }
}

impl Component for Showing {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let out = cx.output::<Picture>("pictures")?;
            for sequence in 0..100 {
                let luma = Plane::new(64, 48, 64, vec![100; 64 * 48].into()).unwrap();
                let source = cx.name().clone();
                out.send(Picture { source, sequence, session: 0, at: SystemClock.now(), luma, chroma: None });
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
            let mut stopping = cx.stopping();
            stopping.wait().await;
            Ok(())
        })
    }
}

struct Counter(UnitSpec, Arc<Mutex<usize>>);
struct Counting(Arc<Mutex<usize>>);

impl Unit for Counter {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Counting(Arc::clone(&self.1))))
    }
}

impl Component for Counting {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut pictures = cx.input::<Picture>("pictures")?;
            while pictures.recv().await.is_some() {
                *self.0.lock().unwrap() += 1;
            }
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_the_site_runs_on() {
    let spec =
        |name, kind, inputs, outputs| UnitSpec { name, about: "for a test", kind, inputs, outputs, params: vec![] };
    let film = spec("film", Kind::Generator, vec![], vec![PortSpec::output::<Picture>("pictures")]);
    let keep = Policy::Lossless { capacity: 1000 };
    let counter = spec("counter", Kind::Sink, vec![PortSpec::input::<Picture>("pictures", keep)], vec![]);
    let seen = Arc::new(Mutex::new(0));
    let registry = Registry::new().with(Film(film)).with(Counter(counter, Arc::clone(&seen))).with(PlateUnit::new());
    let journal = Arc::new(MemoryJournal::default());
    let host = Host::new(HostOptions { journal: journal.clone(), ..HostOptions::default() }, registry);
    let site = SiteDocument::parse(
        r#"
        version = 1
        site = "home"
        link = [
            { from = "gate#pictures", to = "plates#pictures" },
            { from = "gate#pictures", to = "count#pictures" },
        ]
        [[component]]
        name = "gate"
        unit = "film"
        [[component]]
        name = "count"
        unit = "counter"
        [[component]]
        name = "plates"
        unit = "plate"
        params = { models = "no-such-folder", countries = ["RU"] }
    "#,
    )
    .unwrap();
    host.apply(&site).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    host.shutdown().await;
    assert_eq!(*seen.lock().unwrap(), 100);
    let entries = format!("{:?}", journal.read(&Query::default()));
    assert!(entries.contains("plate_models_missing") && entries.contains("models/fetch.py FOLDER"), "{entries}");
}

#[test]
fn countries_are_checked_by_name() {
    let (name, unit): (Name, _) = ("gate".parse().unwrap(), PlateUnit::new());
    let with = |code: &str| {
        let codes = ParamValue::Texts(vec![code.to_owned()]);
        let params = Params::new().with("countries", codes).checked(&unit.spec().params).unwrap();
        unit.create(&name, &params).err().map(|error| error.to_string())
    };
    assert_eq!(with("ru"), None);
    assert!(with("XX").unwrap().contains("countries"));
}
