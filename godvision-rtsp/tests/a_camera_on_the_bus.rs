//! The component `camera` in a graph: fragments and packets flow, pictures are decoded only while somebody takes them,
//! states are said and counted, secrets are not.
#![cfg(all(feature = "component", feature = "restream", feature = "h264"))]

mod coded;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use godvision_core::bus::{
    Component, Context, Control, Fault, Host, HostOptions, Kind, ParamError, Params, Policy, PortSpec, Registry,
    Target, Unit, UnitSpec,
};
use godvision_core::journal::{BoxFuture, MemoryJournal};
use godvision_core::signal::Signal;
use godvision_core::signal::media::{Codec, Fragment, FrameKind, Packet, Picture, StreamState, StreamStatus};
use godvision_core::site::document::SiteDocument;
use godvision_core::{Name, Secret};
use godvision_rtsp::CameraUnit;
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions, User};

/// Keeps everything that comes in.
struct Keeper<T: Signal> {
    spec: UnitSpec,
    kept: Arc<Mutex<Vec<T>>>,
}

impl<T: Signal> Keeper<T> {
    fn new(name: &'static str, policy: Policy) -> Self {
        let inputs = vec![PortSpec::input::<T>("in", policy)];
        let spec = UnitSpec { name, about: "keeps", kind: Kind::Sink, inputs, outputs: vec![], params: vec![] };
        Self { spec, kept: Arc::default() }
    }
}

impl<T: Signal> Unit for Keeper<T> {
    fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Keeping(Arc::clone(&self.kept))))
    }
}

struct Keeping<T>(Arc<Mutex<Vec<T>>>);

impl<T: Signal> Component for Keeping<T> {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let mut input = cx.input::<T>("in")?;
            while let Some(delivery) = input.recv().await {
                self.0.lock().unwrap().push(delivery.into_value());
            }
            Ok(())
        })
    }
}

async fn until(what: &str, mut test: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if test() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 10 s");
}

const SITE: &str = r#"
version = 1
site = "home"

[[component]]
name = "camera"
unit = "camera"
params = { url = "URL", username = "admin", password = { secret = "camera" } }

[[component]]
name = "fragments"
unit = "fragments"

[[component]]
name = "packets"
unit = "packets"

[[component]]
name = "states"
unit = "states"

[[component]]
name = "pictures"
unit = "pictures"

[[link]]
from = "camera#fragments"
to = "fragments#in"

[[link]]
from = "camera#packets"
to = "packets#in"

[[link]]
from = "camera#status"
to = "states#in"
"#;

const PICTURES: &str = r#"
[[link]]
from = "camera#pictures"
to = "pictures#in"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_watches_records_and_sees_only_while_it_wants_to() {
    let mut serve = ServerOptions::new(([127, 0, 0, 1], 0).into());
    serve.users = vec![User::new("admin", Secret::from("canary-secret"))];
    let server = RtspServer::bind(serve).await.unwrap();
    let mount = server.mount("/yard").unwrap();
    let clip = coded::h264(128, 96, 20, 5);
    let player = FilePlayer::from_annex_b(coded::name(), Codec::H264, &clip, 25.0).unwrap();
    let playing = tokio::spawn({
        let mount = mount.clone();
        async move { player.play(&mount).await }
    });
    until("the clip plays", || mount.counters().frames > 0).await;

    let fragments = Keeper::<Fragment>::new("fragments", Policy::Lossless { capacity: 1000 });
    let packets = Keeper::<Packet>::new("packets", Policy::Lossless { capacity: 1000 });
    let states = Keeper::<StreamStatus>::new("states", Policy::Lossless { capacity: 100 });
    let pictures = Keeper::<Picture>::new("pictures", Policy::Credited { capacity: 4 });
    let (kept_fragments, kept_packets) = (Arc::clone(&fragments.kept), Arc::clone(&packets.kept));
    let (kept_states, kept_pictures) = (Arc::clone(&states.kept), Arc::clone(&pictures.kept));
    let registry =
        Registry::new().with(CameraUnit::default()).with(fragments).with(packets).with(states).with(pictures);
    let journal = Arc::new(MemoryJournal::default());
    let options = HostOptions {
        journal: Arc::clone(&journal) as _,
        secrets: Arc::new(|name| (name == "camera").then(|| Secret::from("canary-secret"))),
        ..HostOptions::default()
    };
    let host = Host::new(options, registry);
    let site = SITE.replace("URL", &server.url("/yard"));
    host.apply(&SiteDocument::parse(&site).unwrap()).await.unwrap();

    until("twenty fragments", || kept_fragments.lock().unwrap().len() >= 20).await;
    {
        let (fragments, packets) = (kept_fragments.lock().unwrap(), kept_packets.lock().unwrap());
        assert_eq!(fragments[0].kind, FrameKind::Key);
        for (fragment, packet) in fragments.iter().zip(packets.iter()) {
            assert_eq!(
                (fragment.sequence, fragment.session, fragment.at),
                (packet.sequence, packet.session, packet.at)
            );
            assert_eq!(fragment.data.as_ptr(), packet.data.as_ptr());
        }
    }
    assert_eq!(kept_pictures.lock().unwrap().len(), 0);
    let count = |name: &str| {
        let status = host.status().into_iter().find(|status| status.name.leaf() == "camera").unwrap();
        status.counts.iter().find(|(it, _)| *it == name).map(|(_, value)| *value)
    };
    until("counts are shown", || count("frames").is_some_and(|frames| frames > 0)).await;
    assert_eq!(count("pictures_decoded"), Some(0), "nobody takes pictures, nothing is decoded");

    // Somebody wants pictures: each stands for one packet and carries its moment.
    host.apply(&SiteDocument::parse(&format!("{site}{PICTURES}")).unwrap()).await.unwrap();
    until("ten pictures", || kept_pictures.lock().unwrap().len() >= 10).await;
    {
        let (pictures, packets) = (kept_pictures.lock().unwrap(), kept_packets.lock().unwrap());
        let packet = packets.iter().find(|packet| packet.sequence == pictures[0].sequence).unwrap();
        assert_eq!(packet.kind, FrameKind::Key, "decoding begins at a key frame");
        for picture in pictures.iter() {
            let packet = packets.iter().find(|packet| packet.sequence == picture.sequence).unwrap();
            assert_eq!((picture.at, picture.session), (packet.at, packet.session));
            assert_eq!((picture.luma.width, picture.luma.height), (128, 96));
        }
        let fragments = kept_fragments.lock().unwrap();
        assert!(fragments.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "the graph was not torn");
    }

    // And no more: decoding stops within a second.
    host.apply(&SiteDocument::parse(&site).unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = count("pictures_decoded");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(count("pictures_decoded"), before);

    // A restarted camera is a new session, so nobody takes it for a continuation.
    let old = kept_packets.lock().unwrap().last().unwrap().session;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    host.control(&Target::Named("camera".parse().unwrap()), Control::Restart).await.unwrap();
    until("a new session", || kept_packets.lock().unwrap().last().unwrap().session != old).await;
    let first = kept_packets.lock().unwrap().iter().find(|packet| packet.session != old).unwrap().clone();
    assert_eq!(first.kind, FrameKind::Key);

    assert!(kept_states.lock().unwrap().iter().any(|status| status.state == StreamState::Online));
    host.shutdown().await;
    playing.abort();
    let said = format!("{:?} {:?} {:?}", kept_states.lock().unwrap(), journal, host.status());
    assert!(said.contains("online") && !said.contains("canary"), "{said}");
}
