//! What analyses see: kept within limits, shown with its picture, deleted by an administrator, and never the text of a code.

mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use common::{Folder, Server, clock, sighting};
use godvision_core::bus::{ComponentState, Host, HostOptions, Registry};
use godvision_core::journal::{Entry, Journal, Level, Query};
use godvision_core::signal::media::StreamState;
use godvision_core::signal::seen::{Finding, Region, Rest, RestKind, RestPhase, Sighting, Tamper, TamperKind};
use godvision_core::site::SiteDocument;
use godvision_core::{Clock, Name};
use godvision_server::sightings::SightingsUnit;
use godvision_server::store::{
    KnownPlate, NewSighting, SIGHTING_PAGE_MAX, SUBJECT_BYTES_MAX, SightingLimits, SightingQuery, Standing, Store,
};

fn all() -> SightingQuery {
    SightingQuery { limit: SIGHTING_PAGE_MAX, ..SightingQuery::default() }
}

#[tokio::test]
async fn they_are_filtered_paged_and_survive_a_restart() {
    let folder = Folder::new();
    let open = async || Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    let store = open().await;
    for n in 0..50 {
        let (camera, kind) = (["yard", "gate"][n as usize % 2], ["qr", "plate", "stranger"][n as usize % 3]);
        let subject = (kind == "plate").then_some("A123BC77");
        store.sightings().keep(sighting(camera, kind, subject, n)).await.unwrap();
    }
    store.close().await;
    assert!(store.sightings().keep(sighting("yard", "qr", None, 0)).await.is_err(), "it is closed");
    let store = open().await;
    let sightings = store.sightings();
    let found = sightings.list(&all()).await.unwrap();
    assert_eq!(found.len(), 50);
    assert!(found.is_sorted_by(|a, b| a.at > b.at), "newest first");
    assert_eq!(found[0].region, Region { left: 100, top: 200, right: 300, bottom: 1000 });
    let count = async |query: SightingQuery| sightings.list(&query).await.unwrap().len();
    assert_eq!(count(SightingQuery { camera: Name::new("yard").ok(), ..all() }).await, 25);
    assert_eq!(count(SightingQuery { kind: Some("plate".into()), ..all() }).await, 17);
    assert_eq!(count(SightingQuery { subject: Some("A123BC77".into()), ..all() }).await, 17);
    assert_eq!(count(SightingQuery { from: Some(found[9].at), to: Some(found[4].at), ..all() }).await, 5);
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let page = sightings.list(&SightingQuery { before, limit: 7, ..SightingQuery::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        pages.extend(page);
    }
    assert_eq!(pages, found);
    assert!(sightings.crop(found[3].id).await.unwrap().is_some_and(|jpeg| jpeg.starts_with(b"\xff\xd8")));
    store.close().await;
}

#[tokio::test]
async fn the_oldest_go_first() {
    let (folder, now) = (Folder::new(), clock());
    let store = Store::open(folder.path(), None, Arc::new(now.clone())).await.unwrap();
    let sightings = store.sightings();
    let usual = SightingLimits::default();
    sightings.set_limits(SightingLimits { crops_bytes_max: 10_000, ..usual }).await;
    for second in 0..1000 {
        let crop = (second % 2 == 0).then(|| Bytes::from(vec![7; 1000]));
        sightings.keep(NewSighting { crop, ..sighting("yard", "stranger", None, second) }).await.unwrap();
        assert!(sightings.crops_bytes() <= 10_000, "{}", sightings.crops_bytes());
    }
    let left = sightings.list(&all()).await.unwrap();
    assert_eq!((left.len(), left[0].at.as_unix_micros() / 1_000_000 - common::NOW), (21, 999));
    assert_eq!(left.iter().map(|it| it.crop_bytes).sum::<u64>(), 10_000, "and the one without a picture after them");

    sightings.set_limits(SightingLimits { sightings_max: 5, ..usual }).await;
    sightings.keep(sighting("yard", "stranger", None, 2000)).await.unwrap();
    assert_eq!(sightings.list(&all()).await.unwrap().len(), 5);

    now.advance(usual.kept_for + Duration::from_secs(1500));
    sightings.keep(sighting("yard", "qr", None, 3000)).await.unwrap();
    let left = sightings.list(&all()).await.unwrap();
    assert_eq!(left.iter().map(|it| &*it.kind).collect::<Vec<_>>(), ["qr", "stranger"], "the rest is a month old");
    for it in left {
        assert!(sightings.remove(it.id).await.unwrap());
        assert!(!sightings.remove(it.id).await.unwrap());
        assert_eq!(sightings.crop(it.id).await.unwrap(), None, "the picture goes with it");
    }
    assert_eq!(sightings.crops_bytes(), 0);
    // Longer than anything may be.
    let long = "é".repeat(SUBJECT_BYTES_MAX);
    let id = sightings.keep(sighting("yard", "face", Some(&long), 4_000_000)).await.unwrap();
    let kept = sightings.find(id).await.unwrap().unwrap().subject.unwrap();
    assert!(kept.len() <= SUBJECT_BYTES_MAX && long.starts_with(&kept) && !kept.is_empty());
    store.close().await;
}

#[tokio::test]
async fn what_is_deleted_is_not_on_the_disk_any_more() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    let (kept, gone) = ("a picture that stays ".repeat(400), "a picture that goes  ".repeat(400));
    let with =
        |crop: &str| NewSighting { crop: Some(Bytes::from(crop.to_owned())), ..sighting("yard", "face", None, 0) };
    store.sightings().keep(with(&kept)).await.unwrap();
    let id = store.sightings().keep(with(&gone)).await.unwrap();
    store.sightings().remove(id).await.unwrap();
    store.close().await;
    let holds = |text: &str| {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(20).any(|part| part == &text.as_bytes()[..20]))
    };
    assert!(holds(&kept), "the test can find what is there");
    assert!(!holds(&gone));
}

#[tokio::test]
async fn many_at_once_share_commits_and_all_are_kept() {
    let folder = Folder::new();
    let store = Store::open(folder.path(), None, Arc::new(clock())).await.unwrap();
    let kept = (0..600).map(|second| {
        let store = store.clone();
        tokio::spawn(async move { store.sightings().keep(sighting("yard", "qr", None, second)).await.unwrap() })
    });
    let mut ids = Vec::new();
    for one in kept.collect::<Vec<_>>() {
        ids.push(one.await.unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 600);
    store.close().await;
}

#[tokio::test]
async fn pages_show_them_with_their_pictures() {
    let server = Server::start().await;
    let (ada, vera) = (server.token("ada").await, server.token("vera").await);
    let keep = async |new: NewSighting| server.store.sightings().keep(new).await.unwrap();
    // The yard's clip of the tests begins 100 s before their time and lasts 14 s.
    let plate =
        NewSighting { near: Some("A128BC77".into()), ..sighting("yard/camera", "plate", Some("A12BBC77"), -95) };
    let first = keep(plate).await;
    let second = keep(NewSighting {
        owner: Some("<Ada>".into()),
        standing: Some("watch"),
        crop: None,
        ..sighting("gate/camera", "plate", Some("M001MM99"), 5)
    })
    .await;
    let page = server.get("/sightings", &vera).await.text();
    assert!(page.contains("A12BBC77") && page.contains("It looks like A128BC77, but is not the same"), "{page}");
    assert!(page.contains("&#60;Ada&#62;") && page.contains("watched for") && page.contains("No picture"), "{page}");
    assert!(page.contains(&format!(r#"<img src="/api/v1/sightings/{first}/crop""#)), "{page}");
    assert!(page.contains("#at=3") && page.matches(">Clip<").count() == 1, "its clip is linked: {page}");
    assert!(!page.contains("data-delete"), "a viewer deletes nothing");
    assert!(server.get("/sightings", &ada).await.text().contains("data-delete"));
    let at = async |what: &str| server.get(what, &vera).await;
    assert!(!at("/sightings?camera=yard%2Fcamera").await.text().contains("M001MM99"));
    // A person types it as it stands on the car.
    assert!(at("/sightings?subject=%D0%BC001%D0%BC%D0%BC%2099").await.text().contains("&#60;Ada&#62;"));
    assert!(at("/sightings?kind=face").await.text().contains("No sightings match"));
    assert_eq!(at("/sightings?kind=ghost").await.status, StatusCode::BAD_REQUEST);
    let list = at("/api/v1/sightings?limit=1").await.json();
    assert_eq!((&list["sightings"][0]["id"], &list["next"]), (&second.into(), &second.into()));

    let crop = at(&format!("/api/v1/sightings/{first}/crop")).await;
    assert_eq!((crop.status, crop.header("content-type")), (StatusCode::OK, "image/jpeg"));
    assert_eq!((crop.header("x-content-type-options"), crop.header("cache-control")), ("nosniff", "private, no-cache"));
    let again = server.request(Method::GET, &format!("/api/v1/sightings/{first}/crop")).token(&vera);
    let again = again.header("if-none-match", crop.header("etag")).send().await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(at(&format!("/api/v1/sightings/{second}/crop")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_journal_shows_the_picture_until_an_admin_deletes_it() {
    let server = Server::start().await;
    let ada = server.token("ada").await;
    let id = server.store.sightings().keep(sighting("yard/camera", "plate", Some("A123BC77"), 0)).await.unwrap();
    let yard = Name::new("yard/camera").unwrap();
    let entry = Entry::new(Clock::now(&server.clock), yard, Level::Info, "sighting.plate", "a number plate was read");
    server.store.journal().append(entry.with("sighting", id)).await.unwrap();
    let picture = format!(r#"<img src="/api/v1/sightings/{id}/crop""#);
    assert!(server.get("/journal", &ada).await.text().contains(&picture));
    let path = format!("/api/v1/sightings/{id}");
    let delete = || server.request(Method::DELETE, &path).token(&ada).send();
    assert_eq!(delete().await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete().await.status, StatusCode::NOT_FOUND);
    let journal = server.get("/journal", &ada).await.text();
    assert!(!journal.contains(&picture) && journal.contains("a number plate was read"), "{journal}");
    assert!(journal.contains("ada deleted a sighting of yard/camera"), "{journal}");
    assert!(!journal.contains("A123BC77"), "what was seen is gone");
    assert!(server.store.sightings().list(&all()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_camera_says_what_rests_and_what_is_wrong_with_its_view() {
    let server = Server::start().await;
    let token = server.token("vera").await;
    assert!(!server.get("/cameras", &token).await.text().contains("Covered"));
    let at = Clock::now(&server.clock);
    let source = Name::new("yard/camera").unwrap();
    {
        let mut cameras = server.site.cameras.lock().unwrap();
        cameras[0].state = StreamState::Online;
        cameras[0].tampers =
            vec![Tamper { source: source.clone(), kind: TamperKind::Covered, is_over: false, at, sequence: 1 }];
        cameras[0].rests = vec![Rest {
            source,
            thing: 1,
            phase: RestPhase::Noticed,
            kind: RestKind::Taken,
            since: at,
            at,
            sequence: 1,
            region: Region::WHOLE,
            zones: Vec::new(),
        }];
    }
    let page = server.get("/cameras", &token).await.text();
    assert!(page.contains(">Covered</span>") && page.contains(">Taken "), "{page}");
}

/// A component that sends nothing: sightings are put into the graph by its outlet.
mod giver {
    use std::sync::Mutex;

    use godvision_core::Name;
    use godvision_core::bus::{Component, Context, Fault, Kind, ParamError, Params, PortSpec, Unit, UnitSpec};
    use godvision_core::journal::BoxFuture;
    use godvision_core::signal::seen::Sighting;
    use tokio::sync::mpsc;

    pub(crate) struct GiverUnit(UnitSpec, Mutex<Option<mpsc::Receiver<Sighting>>>);

    impl GiverUnit {
        pub(crate) fn new(sightings: mpsc::Receiver<Sighting>) -> Self {
            let outputs = vec![PortSpec::output::<Sighting>("sightings")];
            let (inputs, params) = (Vec::new(), Vec::new());
            let spec = UnitSpec { name: "giver", about: "gives", kind: Kind::Generator, inputs, outputs, params };
            Self(spec, Mutex::new(Some(sightings)))
        }
    }

    impl Unit for GiverUnit {
        fn spec(&self) -> &UnitSpec {
            &self.0
        }

        fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
            Ok(Box::new(Giver(self.1.lock().unwrap().take())))
        }
    }

    struct Giver(Option<mpsc::Receiver<Sighting>>);

    impl Component for Giver {
        fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
            Box::pin(async move {
                let output = cx.output::<Sighting>("sightings")?;
                let Some(mut sightings) = self.0.take() else { return Ok(()) };
                let mut stopping = cx.stopping();
                loop {
                    tokio::select! {
                        biased;
                        sighting = sightings.recv() => match sighting {
                            Some(sighting) => drop(output.send(sighting)),
                            None => return Ok(()),
                        },
                        () = stopping.wait() => return Ok(()),
                    }
                }
            })
        }
    }
}

#[tokio::test]
async fn the_unit_keeps_journals_and_never_tells_a_code() {
    let (folder, clock) = (Folder::new(), clock());
    let store = Store::open(folder.path(), None, Arc::new(clock.clone())).await.unwrap();
    let known = |plate: &str, owner: &str, standing| KnownPlate {
        plate: plate.parse().unwrap(),
        owner: owner.to_owned(),
        note: String::new(),
        standing,
        from: None,
        to: None,
    };
    let list = [
        known("A123BC77", "Ada", Standing::Allow),
        known("M001MM99", "Mallory", Standing::Watch),
        KnownPlate { to: Some(Clock::wall(&clock)), ..known("X777XX50", "Xenia", Standing::Allow) },
    ];
    store.plates().put(&list).await.unwrap();
    let (give, given) = tokio::sync::mpsc::channel(16);
    let registry = Registry::new().with(giver::GiverUnit::new(given)).with(SightingsUnit::new(Some(store.clone())));
    let journal = Arc::clone(store.journal());
    let options = HostOptions { clock: Arc::new(clock.clone()), journal: journal.clone(), ..HostOptions::default() };
    let host = Host::new(options, registry);
    let text = "version = 1\nsite = \"home\"\n[[component]]\nname = \"giver\"\nunit = \"giver\"\n[[component]]\n\
                name = \"sightings\"\nunit = \"sightings\"\n[[link]]\nfrom = \"giver#sightings\"\nto = \"sightings#sightings\"\n";
    host.apply(&SiteDocument::parse(text).unwrap()).await.unwrap();
    let secret = "GV1:this-opens-a-door";
    let person = || Name::new("ada").unwrap();
    let findings = [
        Finding::Qr(secret.into()),
        Finding::Plate("A123BC77".into()),
        Finding::Plate("M001MM99".into()),
        Finding::Plate("X777XX50".into()),
        Finding::Plate("A128BC77".into()),
        Finding::Plate("E555EE55".into()),
        Finding::Face { person: person(), live: false },
        Finding::Watched { person: person() },
        Finding::Stranger { group: Some(4) },
    ];
    let count = findings.len();
    for finding in findings {
        let sighting = Sighting {
            source: Name::new("yard").unwrap(),
            at: Clock::now(&clock),
            sequence: 1,
            region: Region::WHOLE,
            finding,
            score: 950,
            crop: Some(Bytes::from_static(b"\xff\xd8\xff\xd9")),
        };
        give.send(sighting).await.unwrap();
    }
    // The giver sends what it has and ends; a drain keeps what is queued.
    drop(give);
    while host.component(&Name::new("giver").unwrap()).is_some_and(|it| it.state != ComponentState::Finished) {
        tokio::task::yield_now().await;
    }
    host.shutdown().await;

    let mut found = store.sightings().list(&all()).await.unwrap();
    found.reverse();
    assert_eq!(found.len(), count);
    let columns: Vec<_> = found
        .iter()
        .map(|it| (&*it.kind, it.subject.as_deref(), it.owner.as_deref(), it.standing.as_deref(), it.near.as_deref()))
        .collect();
    assert_eq!(
        columns,
        [
            ("qr", None, None, None, None),
            ("plate", Some("A123BC77"), Some("Ada"), Some("allow"), None),
            ("plate", Some("M001MM99"), Some("Mallory"), Some("watch"), None),
            ("plate", Some("X777XX50"), Some("Xenia"), Some("outside"), None),
            ("plate", Some("A128BC77"), None, None, Some("A123BC77")),
            ("plate", Some("E555EE55"), None, None, None),
            ("face", Some("ada"), None, None, None),
            ("watched", Some("ada"), None, None, None),
            ("stranger", Some("#1-4"), None, None, None),
        ]
    );
    let mut entries = journal.query(Query { service: Name::new("yard").ok(), ..Query::default() }).await.unwrap();
    entries.reverse();
    assert_eq!(entries.len(), count);
    for (entry, kept) in entries.iter().zip(&found) {
        assert!(entry.fields.contains(&("sighting".to_owned(), kept.id.to_string())), "{entry:?}");
        let is_watched = kept.standing.as_deref() == Some("watch") || kept.kind == "watched";
        assert_eq!(entry.level == Level::Security, is_watched, "{entry:?}");
        let says = format!("{entry:?}");
        assert!(!says.contains("77") || is_watched, "the journal cannot forget a plate: {says}");
    }
    let told = format!("{entries:?}{found:?}");
    assert!(!told.contains("this-opens-a-door"), "{told}");
    store.close().await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(17).any(|part| part == b"this-opens-a-door"), "not on the disk either");
    }
}
