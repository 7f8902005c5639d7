//! The unit `live` in a running graph: what a camera component sends is what a viewer gets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use godvision_core::bus::{
    Component, Context, Fault, Host, HostOptions, Kind, ParamError, Params, PortSpec, Registry, Unit, UnitSpec,
};
use godvision_core::journal::BoxFuture;
use godvision_core::signal::media::{Codec, Fragment, FrameKind, InitSegment, StreamState, StreamStatus, VideoFormat};
use godvision_core::site::SiteDocument;
use godvision_core::{Name, SystemClock};
use godvision_server::web::live::{LiveHub, LiveLimits, LiveMessage, LiveUnit};

/// Two fragments, then a loss with its reason.
struct Camera(UnitSpec);
struct Filming;

impl Unit for Camera {
    fn spec(&self) -> &UnitSpec {
        &self.0
    }
    fn create(&self, _: &Name, _: &Params) -> Result<Box<dyn Component>, ParamError> {
        Ok(Box::new(Filming))
    }
}

impl Component for Filming {
    fn run<'a>(&'a mut self, cx: &'a mut Context) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let fragments = cx.output::<Fragment>("fragments")?;
            let states = cx.output::<StreamStatus>("status")?;
            let format = Arc::new(VideoFormat {
                codec: Codec::H264,
                width: 640,
                height: 360,
                codec_name: "avc1.42e01e".into(),
                config: Bytes::new(),
            });
            let mime = "video/mp4; codecs=\"avc1.42e01e\"".to_owned();
            let init = Arc::new(InitSegment { format, mime, data: Bytes::from_static(b"init") });
            for sequence in 0..2 {
                fragments.send(Fragment {
                    source: cx.name().clone(),
                    init: init.clone(),
                    sequence,
                    session: 1,
                    decode_ticks: sequence * 3600,
                    duration_ticks: 3600,
                    at: cx.now(),
                    kind: if sequence == 0 { FrameKind::Key } else { FrameKind::Delta },
                    lost_before: 0,
                    head: Bytes::from_static(b"moof"),
                    data: Bytes::from(format!("mdat{sequence}")),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            states.send(StreamStatus {
                source: cx.name().clone(),
                at: cx.now(),
                state: StreamState::Stalled,
                code: Some("stalled"),
                detail: "no frame for 3 s".into(),
                format: None,
            });
            cx.stopping().wait().await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn what_a_camera_sends_is_what_a_viewer_gets() {
    let hub = LiveHub::new(LiveLimits::default(), SystemClock::shared());
    let name = Name::new("yard/camera").unwrap();
    let mut viewer = hub.join(&name).unwrap();
    let camera = UnitSpec {
        name: "camera",
        about: "films",
        kind: Kind::Generator,
        inputs: vec![],
        outputs: vec![PortSpec::output::<Fragment>("fragments"), PortSpec::output::<StreamStatus>("status")],
        params: vec![],
    };
    let host = Host::new(HostOptions::default(), Registry::new().with(Camera(camera)).with(LiveUnit::new(hub)));
    let site = "version = 1\nsite = \"s\"\n[[component]]\nname = \"live\"\nunit = \"live\"\n[[component]]\n\
        name = \"yard/camera\"\nunit = \"camera\"\n[[link]]\nfrom = \"yard/camera#fragments\"\nto = \"live#fragments\"\n\
        [[link]]\nfrom = \"yard/camera#status\"\nto = \"live#status\"\n";
    host.apply(&SiteDocument::parse(site).unwrap()).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 6 {
        let message = tokio::time::timeout(Duration::from_secs(10), viewer.next()).await.unwrap().unwrap();
        got.push(match message {
            LiveMessage::Text(text) => {
                let text: serde_json::Value = serde_json::from_str(&text).unwrap();
                format!("{} {}", text["type"].as_str().unwrap(), text["detail"].as_str().unwrap_or_default())
            }
            LiveMessage::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        });
    }
    assert_eq!(got, ["init ", "init", "clock ", "moofmdat0", "moofmdat1", "status no frame for 3 s"]);
}
