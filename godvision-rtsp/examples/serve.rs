//! A file as a camera: `serve FILE --fps N --listen ADDR [--path /demo] [--user U --password P]`.
//!
//! Prints `ready rtsp://...` when readers may come. Play it with any RTSP client; `--fps` 15 if not said. The file is
//! Annex-B H.264, or H.265 if its name ends in `.h265` or `.hevc`. What to read next: `src/restream/mod.rs`.

use std::process::ExitCode;

use godvision_core::Secret;
use godvision_core::signal::media::Codec;
use godvision_rtsp::restream::{FilePlayer, RtspServer, ServerOptions, User};

const USAGE: &str = "usage: serve FILE [--fps N] [--listen ADDR] [--path /PATH] [--user U --password P]";

async fn serve(arguments: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    let option = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1).cloned()
    };
    let file = arguments.first().filter(|file| !file.starts_with("--")).ok_or(USAGE)?;
    let codec = if file.ends_with("5") || file.ends_with(".hevc") { Codec::H265 } else { Codec::H264 };
    let rate = option("--fps").unwrap_or_else(|| "15".to_owned()).parse()?;
    let player = FilePlayer::from_annex_b("serve/camera".parse()?, codec, &std::fs::read(file)?, rate)?;

    let mut options = ServerOptions::new(option("--listen").unwrap_or_else(|| "127.0.0.1:8554".to_owned()).parse()?);
    if let Some(user) = option("--user") {
        options.users = vec![User::new(user, Secret::new(option("--password").ok_or(USAGE)?))];
    }
    let server = RtspServer::bind(options).await?;
    let path = option("--path").unwrap_or_else(|| "/demo".to_owned());
    let mount = server.mount(&path)?;
    let announce = async {
        while mount.counters().frames == 0 {
            tokio::task::yield_now().await;
        }
        println!("ready {}", server.url(&path));
    };
    tokio::join!(player.play(&mount), announce);
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve: {error}");
            ExitCode::FAILURE
        }
    }
}
