//! `demo --check`: verifies each promise of the demo from outside, through HTTP and RTSP, and prints the list.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::{Method, StatusCode};
use godvision_core::{Name, Secret};
use godvision_rtsp::{Camera, CameraEvent, CameraOptions, CameraUrl};
use serde_json::{Value, json};

use super::client::{Client, eventually};
use super::{CAMERA, DOOR, GUEST, RESIDENT};

/// The demo's clip lasts 40 s; a promise that needs one scene of it gets one whole round and a little.
const ONE_ROUND: Duration = Duration::from_secs(60);

/// What is known of the demo from outside.
pub(super) struct Outside {
    pub(super) pages: SocketAddr,
    pub(super) password: Secret,
    pub(super) camera: CameraUrl,
}

type Fact = (&'static str, anyhow::Result<String>);

/// Checks everything and prints a line each. True if all hold.
pub(super) async fn check(outside: &Outside) -> bool {
    let mut facts: Vec<Fact> = Vec::new();
    let mut client = Client::new(outside.pages);
    let mut say = |name: &'static str, fact: anyhow::Result<String>| {
        match &fact {
            Ok(detail) => println!("  ok    {name}: {detail}"),
            Err(error) => println!("  FAIL  {name}: {error:#}"),
        }
        facts.push((name, fact));
    };
    say("strangers are kept out", strangers(&client).await);
    let signed_in = client.sign_in("admin", &outside.password).await.map(|()| "as admin".to_owned());
    say("the printed password signs in", signed_in);
    say("the camera speaks RTSP", rtsp(&outside.camera).await);
    say("the camera is online", online(&client).await);
    say("live view", live(&client).await);
    say("a pass opens the door", admitted(&client).await);
    say("an expired pass is refused", refused(&client).await);
    say("the door opens by hand", by_hand(&client).await);
    say("motion is recorded, with what came before it", recorded(&client).await);
    say("the clip is archived", archived(&client).await);
    say("who showed a code is kept with a picture, the code is not", sighted(&client).await);
    say("the journal has it all, in order", journal(&client).await);
    let failed = facts.iter().filter(|(_, fact)| fact.is_err()).count();
    println!("{} of {} promises hold", facts.len() - failed, facts.len());
    failed == 0
}

async fn strangers(client: &Client) -> anyhow::Result<String> {
    for path in ["/api/v1/cameras", "/api/v1/clips", "/api/v1/journal", "/api/v1/doors"] {
        let (status, _) = client.request(Method::GET, path, None).await?;
        ensure!(status == StatusCode::UNAUTHORIZED, "{path} answers a stranger with {status}");
    }
    let (status, _) = client.request(Method::GET, "/api/v1/health", None).await?;
    ensure!(status.is_success(), "/api/v1/health answers {status}");
    Ok("the API answers 401 without a session".to_owned())
}

async fn rtsp(url: &CameraUrl) -> anyhow::Result<String> {
    let mut camera = Camera::connect(CameraOptions::new(Name::new("check")?, url.clone()));
    let watching = async {
        let (mut frames, mut keys, mut lost) = (0, 0, 0);
        loop {
            if let CameraEvent::Packet(packet) = camera.next().await {
                frames += 1;
                keys += u32::from(packet.kind == godvision_core::signal::media::FrameKind::Key);
                lost += packet.lost_before;
                if frames >= 30 {
                    return (frames, keys, lost, packet.format);
                }
            }
        }
    };
    let watched = tokio::time::timeout(Duration::from_secs(15), watching).await;
    let (frames, keys, lost, format) = watched.context("30 frames did not come within 15 s")?;
    ensure!(keys > 0 && lost == 0, "{keys} key frames, {lost} packets lost");
    Ok(format!("{frames} frames of {} {}x{}, 0 lost", format.codec, format.width, format.height))
}

async fn online(client: &Client) -> anyhow::Result<String> {
    eventually("the camera comes online", Duration::from_secs(15), async || {
        let list = client.get("/api/v1/cameras").await?;
        let camera = find(&list["cameras"], |it| it["id"] == CAMERA);
        Ok(camera.filter(|it| it["state"] == "online").map(|it| format!("{} frames so far", it["counters"]["frames"])))
    })
    .await
}

async fn live(client: &Client) -> anyhow::Result<String> {
    let live = client.watch(&format!("/api/v1/cameras/{CAMERA}/live"), 30).await?;
    Ok(format!("{} fragments of {}, the first after {} ms", live.fragments, live.mime, live.first_after.as_millis()))
}

fn find(list: &Value, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    list.as_array()?.iter().find(|item| wanted(item)).cloned()
}

async fn decision(client: &Client, person: &str, verdict: &str, credential: &str) -> anyhow::Result<Option<Value>> {
    let doors = client.get("/api/v1/doors").await?;
    let door = find(&doors["doors"], |it| it["id"] == DOOR).context("the demo's door is not listed")?;
    Ok(find(&door["decisions"], |it| {
        it["user"] == person && it["verdict"] == verdict && it["credential"] == credential
    }))
}

async fn admitted(client: &Client) -> anyhow::Result<String> {
    let opened = eventually("the door is unlocked by a pass", ONE_ROUND, async || {
        let doors = client.get("/api/v1/doors").await?;
        let unlocked = find(&doors["doors"], |it| it["id"] == DOOR && it["state"] == "unlocked").is_some();
        Ok(decision(client, RESIDENT, "admit", "qr").await?.filter(|_| unlocked))
    })
    .await?;
    Ok(format!("{RESIDENT} by {}, rule {}", opened["credential"], opened["rule"]))
}

async fn refused(client: &Client) -> anyhow::Result<String> {
    let refusal =
        eventually("the second pass is refused", ONE_ROUND, async || decision(client, GUEST, "refuse", "qr").await)
            .await?;
    ensure!(refusal["reason"] == "expired", "refused because of {}", refusal["reason"]);
    Ok(format!("{GUEST}, because {}", refusal["reason_text"]))
}

async fn by_hand(client: &Client) -> anyhow::Result<String> {
    let answer =
        client.json(Method::POST, &format!("/api/v1/doors/{DOOR}/open"), Some(json!({"reason": "a check"}))).await?;
    ensure!(answer["verdict"] == "admit", "the operator is refused: {}", answer["reason_text"]);
    Ok(format!("admin by {}, rule {}", answer["credential"], answer["rule"]))
}

/// A finished clip that shows motion.
async fn finished(client: &Client, states: &[&str]) -> anyhow::Result<Option<Value>> {
    let list = client.get("/api/v1/clips").await?;
    let is_wanted = |clip: &Value| {
        clip["camera"] == CAMERA
            && clip["motion_ms"].is_u64()
            && clip["state"].as_str().is_some_and(|state| states.contains(&state))
    };
    Ok(find(&list["clips"], is_wanted))
}

async fn recorded(client: &Client) -> anyhow::Result<String> {
    let clip = eventually("a clip is finished", ONE_ROUND, async || {
        finished(client, &["waiting", "uploading", "archived"]).await
    })
    .await?;
    let before_ms = clip["motion_ms"].as_u64().unwrap_or(0);
    ensure!(before_ms >= 1000, "it starts only {before_ms} ms before the motion");
    let id = clip["id"].as_str().context("a clip without an id")?;
    let (status, video) = client.request(Method::GET, &format!("/api/v1/clips/{id}/video"), None).await?;
    ensure!(status.is_success(), "its video answers {status}");
    ensure!(video.get(4..8) == Some(b"ftyp"), "its video is no MP4");
    let fragments = fragments(&video)?;
    ensure!(
        Some(fragments) == clip["frames"].as_u64(),
        "it holds {fragments} frames, {} were recorded",
        clip["frames"]
    );
    Ok(format!(
        "{} s, {fragments} frames, {:.1} s before the motion",
        clip["duration_ms"].as_u64().unwrap_or(0) / 1000,
        before_ms as f64 / 1000.0
    ))
}

/// Counts the fragments of a whole MP4 and checks that nothing is left over.
fn fragments(mut file: &[u8]) -> anyhow::Result<u64> {
    let mut count = 0;
    while let Some((head, _)) = file.split_at_checked(8) {
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        count += u64::from(&head[4..] == b"moof");
        file = file.get(size.max(8)..).context("its last part is cut off")?;
    }
    ensure!(file.is_empty(), "bytes are left over at its end");
    Ok(count)
}

async fn archived(client: &Client) -> anyhow::Result<String> {
    let clip = eventually("it is archived", ONE_ROUND, async || finished(client, &["archived"]).await).await?;
    Ok(format!("{} bytes, verified", clip["size_bytes"]))
}

async fn sighted(client: &Client) -> anyhow::Result<String> {
    let seen = eventually("a sighting is kept", ONE_ROUND, async || {
        let list = client.get("/api/v1/sightings?kind=qr").await?;
        Ok(find(&list["sightings"], |it| it["camera"] == CAMERA && it["crop_bytes"].as_u64() > Some(0)))
    })
    .await?;
    ensure!(seen["subject"].is_null(), "the sighting tells what the code says");
    let (status, crop) = client.request(Method::GET, &format!("/api/v1/sightings/{}/crop", seen["id"]), None).await?;
    ensure!(status.is_success() && crop.starts_with(b"\xff\xd8"), "its picture answers {status}");
    Ok(format!("a picture of {} bytes", crop.len()))
}

async fn journal(client: &Client) -> anyhow::Result<String> {
    let list = client.get("/api/v1/journal?limit=500").await?;
    let entries = list["entries"].as_array().context("the journal is no list")?;
    let id_of = |code: &str, service: &str| {
        let oldest = entries.iter().rev().find(|it| it["code"] == code && it["service"] == service);
        oldest.and_then(|it| it["id"].as_u64()).with_context(|| format!("{service} has no entry {code}"))
    };
    let (decided, opened) = (id_of("access.admitted", DOOR)?, id_of("door.unlocked", DOOR)?);
    ensure!(decided < opened, "the door was opened before the decision was kept");
    id_of("access.refused", DOOR)?;
    let recorder = format!("recorder/{CAMERA}");
    ensure!(
        id_of("clip.opened", &recorder)? < id_of("clip.closed", &recorder)?,
        "a clip is closed before it is opened"
    );
    let only = client.get(&format!("/api/v1/journal?service={DOOR}")).await?;
    let only = only["entries"].as_array().context("the filtered journal is no list")?;
    ensure!(
        !only.is_empty() && only.iter().all(|it| it["service"] == DOOR),
        "the filter by service lets others through"
    );
    Ok(format!("{} entries; the decision is kept before the door moves", entries.len()))
}
