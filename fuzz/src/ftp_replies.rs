//! What `godvision-ftp` reads from outside: an FTP server's replies, manifests on disk, addresses and names.

use std::path::Path;
use std::time::Duration;

use godvision_core::WallTime;
use godvision_core::driver::archive::{Archive as _, ArchiveError, checked_name};
use godvision_ftp::archive::ftp::{FtpArchive, FtpOptions};
use godvision_ftp::archive::url::FtpUrl;
use godvision_ftp::io::manifest::{from_json, to_json};
use godvision_ftp::spool::ClipId;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{Input, Reached};

/// How long the server of the test waits for a command before it says its next line unasked.
const IMPATIENCE: Duration = Duration::from_millis(3);
/// The longest a conversation may take: each step has a limit of its own far below.
const PATIENCE: Duration = Duration::from_secs(10);
const PASSWORD: &str = "hunter2secret";

/// The first byte chooses what the rest is: replies of a server (0 and what is not named), a manifest (1), an address
/// (2), the name of a clip (3).
pub fn ftp_replies(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    match input.byte() {
        1 => manifest(input.rest()),
        2 => std::str::from_utf8(input.rest()).map_or(Reached::Refused, address),
        3 => std::str::from_utf8(input.rest()).map_or(Reached::Refused, clip_name),
        _ => conversation(input),
    }
}

fn manifest(data: &[u8]) -> Reached {
    let path = Path::new("clip.json");
    let Ok((info, archived)) = from_json(data, path) else { return Reached::Refused };
    // What may be joined to a path is safe to be.
    assert_eq!(checked_name(info.id.as_str()), Ok(()));
    assert_eq!(checked_name(&info.archive_name), Ok(()));
    assert!(!info.id.as_str().contains('/'));
    let text = to_json(&info, archived);
    let again = from_json(text.as_bytes(), path).expect("what is written is read");
    assert_eq!(again, (info, archived));
    Reached::Checked
}

fn address(text: &str) -> Reached {
    let Ok(url) = text.parse::<FtpUrl>() else { return Reached::Refused };
    assert!(!url.host.is_empty() && !url.user.is_empty() && url.port != 0);
    assert!(url.folder.split('/').all(|part| part != ".."));
    let (shown, known) = (format!("{url} {url:?}"), [&url.host, &url.user, &url.folder]);
    let password = url.password.expose();
    let is_elsewhere = known.iter().any(|part| part.contains(password));
    // Short or common pieces of text stand in every message.
    assert!(password.len() < 12 || is_elsewhere || !shown.contains(password), "a password is never shown");
    assert!(url.folder.chars().chain(url.user.chars()).all(|c| !matches!(c, '\r' | '\n' | '\0')), "no command inside");
    Reached::Checked
}

fn clip_name(text: &str) -> Reached {
    let Ok(id) = ClipId::parse(text) else { return Reached::Refused };
    assert_eq!((id.as_str(), checked_name(text)), (text, Ok(())));
    assert!(text.len() <= ClipId::BYTES_MAX && !text.contains('/'));
    Reached::Checked
}

/// A client that asks for a size, reads and removes, against a server that answers with pieces of the input.
fn conversation(input: Input<'_>) -> Reached {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let mut options =
            FtpOptions::new(format!("ftp://me:{PASSWORD}@127.0.0.1:{port}/f").parse().expect("an address"));
        options.connect_timeout = Duration::from_millis(300);
        options.command_timeout = Duration::from_millis(300);
        options.stall_timeout = Duration::from_millis(300);
        let archive = FtpArchive::new(options).expect("plain FTP needs no certificate");
        let client = async {
            let size = archive.stat("a/b.mp4").await;
            let bytes = archive.read("a/b.mp4", 2..40).await;
            let removed = archive.remove("a/b.mp4").await;
            (size, bytes, removed)
        };
        let mut said = 0;
        let both = async {
            tokio::select! {
                result = client => result,
                never = serve(&listener, input, &mut said) => match never {},
            }
        };
        let (size, bytes, removed) = timeout(PATIENCE, both).await.expect("every step has a limit");
        if let Ok(Some(stored)) = &size {
            assert_eq!(stored.name, "a/b.mp4");
        }
        if let Ok(bytes) = &bytes {
            assert!(bytes.len() <= 38, "no more than asked for");
        }
        for error in [size.err(), bytes.err(), removed.err()].into_iter().flatten() {
            check_error(&error);
        }
        Reached::when(said > 1)
    })
}

fn check_error(error: &ArchiveError) {
    let text = error.to_string();
    assert!(!text.contains(PASSWORD), "a password is never shown: {text}");
    assert!(text.len() < 2000, "a server's words are shortened: {} bytes", text.len());
    assert!(!text.contains(['\n', '\r']), "one line: {text:?}");
}

/// Serves one connection after another; each line of the client is answered by the next piece of the input.
async fn serve(listener: &TcpListener, mut input: Input<'_>, said: &mut usize) -> std::convert::Infallible {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let _ = speak(client, &mut input, said).await;
    }
}

async fn speak(client: TcpStream, input: &mut Input<'_>, said: &mut usize) -> std::io::Result<()> {
    let (from, mut to) = client.into_split();
    let mut lines = BufReader::new(from).lines();
    let data = TcpListener::bind("127.0.0.1:0").await?;
    let port = data.local_addr()?.port();
    while !input.is_empty() {
        *said += 1;
        let size = input.byte();
        let piece = input.bytes(usize::from(size));
        // Where the data connection goes is ours to say: anything else would knock at the doors of other programs.
        if piece.starts_with(b"229") || piece.starts_with(b"227") {
            to.write_all(format!("229 Here (|||{port}|)\r\n").as_bytes()).await?;
        } else {
            to.write_all(piece).await?;
            if !piece.ends_with(b"\n") {
                to.write_all(b"\r\n").await?;
            }
        }
        if piece.starts_with(b"150")
            && let Ok(Ok((mut stream, _))) = timeout(IMPATIENCE, data.accept()).await
        {
            let size = input.byte();
            stream.write_all(input.bytes(usize::from(size))).await?;
            let mut rest = [0; 64];
            let _ = timeout(IMPATIENCE, stream.read(&mut rest)).await;
        }
        if let Ok(line) = timeout(IMPATIENCE, lines.next_line()).await
            && line?.is_none()
        {
            break;
        }
    }
    Ok(())
}

/// A manifest to begin with.
pub fn manifest_seed() -> String {
    use godvision_ftp::sample::Stream;
    use godvision_ftp::spool::ClipInfo;
    let mut cutter = godvision_ftp::clip::ClipCutter::new(Default::default(), godvision_ftp::clip::RecordMode::Always);
    let (mut stream, mut actions) = (Stream::new("yard", 10), Vec::new());
    (0..20).for_each(|_| cutter.fragment(stream.frame(), &mut actions));
    let summary = cutter.current().expect("it records always");
    let mut info = ClipInfo::of(ClipId::new(summary.started.wall, &summary.camera, 0), summary);
    info.sha256 = [0xab; 32];
    to_json(&info, Some(WallTime::from_unix_seconds(9)))
}
