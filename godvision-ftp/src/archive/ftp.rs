//! [`FtpArchive`]: an FTP server, plain or by explicit TLS, as the archive.
//!
//! A file goes to `NAME.HASH.part`, where `HASH` begins its SHA-256: only the same content is ever resumed, and the last
//! 64 KiB that the server has are read back and compared first. Then: REST + STOR (APPE where REST is refused), SIZE
//! must be ours, HASH or XSHA256 where the server offers it, RNFR + RNTO, SIZE of the final name. Only then is it
//! stored. A final name of the right size means that an earlier answer was lost.
//!
//! Data connections are passive: EPSV first, PASV where that is refused, always to the address of the control
//! connection (servers behind NAT announce their private one, and a hostile one could announce anybody's). Every step
//! has a time limit. One connection is kept for storing and one for reading, so that playback does not wait for uploads.
//!
//! **Never:** active mode, ASCII transfers, implicit TLS, an unverified certificate. The `suppaftp` crate under it logs
//! each command at `trace`, the password too: do not switch on `suppaftp=trace` in production.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use godvision_core::driver::BoxFuture;
use godvision_core::driver::archive::{Archive, ArchiveError, Capabilities, Stored, Upload, checked_name};
use rustls::client::danger::ServerCertVerifier;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream, AsyncRustlsStream, TransferStream};
use suppaftp::types::FileType;
use suppaftp::{FtpError, Mode, Status};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::part_name;
use super::reply::{self, Doing};
pub use super::tls::FtpTrust;
use super::tls::{self, Newest};
use super::url::{FtpUrl, Security};
use crate::Error;

/// Bytes read from the local file at once.
const READ_BYTES: usize = 512 << 10;
/// Bytes within which progress must be seen: at 30 s, 2 KiB/s.
const SEND_BYTES: usize = 64 << 10;
/// How much of a partial upload is compared before it is resumed.
const COMPARED_BYTES: u64 = 64 << 10;

/// Where an FTP server is and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpOptions {
    /// The server, the login and the folder. Its fingerprint, if it has one, wins over `trust`.
    pub url: FtpUrl,
    /// Whose certificate is accepted.
    pub trust: FtpTrust,
    /// To connect and to secure the connection.
    pub connect_timeout: Duration,
    /// For one command and its answer.
    pub command_timeout: Duration,
    /// For 64 KiB of data.
    pub stall_timeout: Duration,
}

impl FtpOptions {
    /// 10 s to connect, 30 s for a command, 30 s without progress.
    pub fn new(url: FtpUrl) -> Self {
        Self {
            trust: url.fingerprint.map_or(FtpTrust::SystemRoots, FtpTrust::Fingerprint),
            url,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// An FTP server that keeps clips.
pub struct FtpArchive {
    options: FtpOptions,
    address: String,
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    /// Learnt once for this server.
    is_tls12_only: AtomicBool,
    storing: Mutex<Option<Session>>,
    reading: Mutex<Option<Session>>,
    capabilities: Capabilities,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashCommand {
    Hash,
    Xsha256,
}

struct Session {
    ftp: AsyncRustlsFtpStream,
    mode: Mode,
    hash: Option<HashCommand>,
    folders: HashSet<String>,
}

/// An error, and whether TLS 1.2 may help.
struct Failure {
    error: ArchiveError,
    code: u16,
    wants_tls12: bool,
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self { error, code: 0, wants_tls12: false }
    }
}

impl Failure {
    /// Whether the connection is still in step after it.
    fn is_answer(&self) -> bool {
        self.code >= 400 && self.code != 421
    }
}

impl FtpArchive {
    /// An archive that connects when it is first used.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] if `trust` cannot be used.
    pub fn new(options: FtpOptions) -> Result<Self, Error> {
        let verifier = match options.url.security {
            Security::Plain => None,
            Security::Tls => Some(tls::verifier(&match options.url.fingerprint {
                Some(print) => FtpTrust::Fingerprint(print),
                None => options.trust.clone(),
            })?),
        };
        Ok(Self {
            address: format!("{}:{}", options.url.host, options.url.port),
            verifier,
            is_tls12_only: AtomicBool::new(false),
            storing: Mutex::new(None),
            reading: Mutex::new(None),
            capabilities: Capabilities { driver: "ftp", resumes: true, reads_ranges: true, is_remote: true },
            options,
        })
    }

    fn path(&self, name: &str) -> String {
        match self.options.url.folder.as_str() {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        }
    }

    fn failure(&self, error: FtpError, doing: Doing) -> Failure {
        let address = || self.address.clone();
        let nonsense = |detail: &str| ArchiveError::Protocol { address: address(), detail: detail.to_owned() };
        let error = match error {
            FtpError::UnexpectedResponse(response) => {
                let Some((code, words)) = reply::parse(&response.body) else {
                    return nonsense("a reply without a code").into();
                };
                let error = reply::error(&self.address, code, &words, doing);
                return Failure { error, code, wants_tls12: reply::wants_tls12(code, &words) };
            }
            FtpError::ConnectionError(error) => match error.kind() {
                io::ErrorKind::TimedOut => ArchiveError::Timeout { address: address(), doing: "connecting" },
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => nonsense(&error.to_string()),
                _ => ArchiveError::Unreachable { address: address(), detail: error.to_string() },
            },
            FtpError::SecureError(detail) => {
                let is_lost = ["eof", "reset", "broken pipe", "timed out"].iter().any(|it| detail.contains(it));
                let error = if is_lost {
                    ArchiveError::Unreachable { address: address(), detail }
                } else {
                    ArchiveError::Tls { address: address(), detail }
                };
                return Failure { error, code: 0, wants_tls12: doing == Doing::Other };
            }
            FtpError::BadResponse => nonsense("a reply that is none of FTP's"),
            other => nonsense(&reply::words(other.to_string().as_bytes())),
        };
        error.into()
    }

    async fn timed<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, FtpError>> + Send,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result.map_err(|error| self.failure(error, Doing::Other)),
            Err(_) => Err(ArchiveError::Timeout { address: self.address.clone(), doing }.into()),
        }
    }

    async fn command<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, FtpError>> + Send,
    ) -> Result<T, Failure> {
        self.timed(doing, self.options.command_timeout, work).await
    }

    async fn connect(&self) -> Result<Session, Failure> {
        let url = &self.options.url;
        let limit = self.options.connect_timeout;
        let connected = async {
            let tcp = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(FtpError::ConnectionError)?;
            tcp.set_nodelay(true).map_err(FtpError::ConnectionError)?;
            AsyncRustlsFtpStream::connect_with_stream(tcp).await
        };
        let mut ftp = self.timed("connecting", limit, connected).await?;
        if let Some(verifier) = &self.verifier {
            let newest = if self.is_tls12_only.load(Ordering::Relaxed) { Newest::Tls12 } else { Newest::Tls13 };
            // One configuration a session: its ticket store lets the data connections resume the control connection.
            let config = tls::config(verifier.clone(), newest)
                .map_err(|error| ArchiveError::Tls { address: self.address.clone(), detail: error.to_string() })?;
            let connector = suppaftp::tokio_rustls::TlsConnector::from(Arc::new(config));
            let secured = ftp.into_secure(AsyncRustlsConnector::from(connector), &url.host);
            ftp = self.timed("securing the connection", limit, secured).await.map_err(|failure| {
                let detail = match failure.error {
                    ArchiveError::Protocol { detail, .. } if failure.code >= 500 => format!("no TLS offered: {detail}"),
                    other => return Failure { error: other, code: failure.code, wants_tls12: false },
                };
                ArchiveError::Tls { address: self.address.clone(), detail }.into()
            })?;
        }
        let login = ftp.login(url.user.as_str(), url.password.expose());
        match tokio::time::timeout(self.options.command_timeout, login).await {
            Ok(result) => result.map_err(|error| self.failure(error, Doing::Login))?,
            Err(_) => {
                return Err(ArchiveError::Timeout { address: self.address.clone(), doing: "logging in" }.into());
            }
        }
        self.command("choosing binary transfers", ftp.transfer_type(FileType::Binary)).await?;
        let hash = match self.command("asking for features", ftp.feat()).await {
            Ok(features) if features.contains_key("HASH") => Some(HashCommand::Hash),
            Ok(features) if features.contains_key("XSHA256") => Some(HashCommand::Xsha256),
            Ok(_) => None,
            Err(failure) if failure.is_answer() => None,
            Err(failure) => return Err(failure),
        };
        ftp.set_mode(Mode::ExtendedPassive);
        ftp.set_passive_nat_workaround(true);
        Ok(Session { ftp, mode: Mode::ExtendedPassive, hash, folders: HashSet::new() })
    }

    /// The kept connection if it still answers, else a new one.
    async fn session(&self, kept: Option<Session>) -> Result<Session, Failure> {
        if let Some(mut session) = kept
            && self.timed("asking whether it is there", self.options.connect_timeout, session.ftp.noop()).await.is_ok()
        {
            return Ok(session);
        }
        self.connect().await
    }

    /// Keeps the connection if it is in step.
    fn keep<T>(&self, slot: &mut Option<Session>, session: Session, result: &Result<T, Failure>) {
        if !matches!(result, Err(failure) if !failure.is_answer()) {
            *slot = Some(session);
        }
    }

    /// Whether the same should be tried at once with TLS 1.2; remembered for this server.
    fn learns_tls12(&self, failure: &Failure) -> bool {
        failure.wants_tls12 && self.verifier.is_some() && !self.is_tls12_only.swap(true, Ordering::Relaxed)
    }

    async fn size(&self, session: &mut Session, path: &str) -> Result<Option<u64>, Failure> {
        match self.command("asking for a size", session.ftp.size(path)).await {
            Ok(size) => Ok(Some(size as u64)),
            Err(failure) if matches!(failure.code, 450 | 550 | 553) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the folders above `path`. Whether they are there shows when the file is opened.
    async fn make_folders(&self, session: &mut Session, path: &str) -> Result<(), Failure> {
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            let folder = path.get(..at).unwrap_or_default();
            if session.folders.contains(folder) {
                continue;
            }
            match self.command("making a folder", session.ftp.mkdir(folder)).await {
                Err(failure) if !failure.is_answer() => return Err(failure),
                _ => session.folders.insert(folder.to_owned()),
            };
        }
        Ok(())
    }

    async fn open(
        &self,
        session: &mut Session,
        path: &str,
        offset: u64,
        how: Transfer,
    ) -> Result<TransferStream<AsyncRustlsStream>, Failure> {
        loop {
            let rest = match how {
                Transfer::Append => 0,
                _ => usize::try_from(offset).unwrap_or(usize::MAX),
            };
            let ftp = &mut session.ftp;
            let opened = self
                .command("opening a transfer", async {
                    ftp.resume_transfer(rest).await?;
                    match how {
                        Transfer::Store => ftp.put_with_stream(path).await,
                        Transfer::Append => ftp.append_with_stream(path).await,
                        Transfer::Retrieve => ftp.retr_as_stream(path).await,
                    }
                })
                .await;
            match opened {
                Err(failure)
                    if session.mode == Mode::ExtendedPassive && matches!(failure.code, 500..=502 | 504 | 522) =>
                {
                    tracing::debug!(address = %self.address, code = failure.code, "no EPSV, trying PASV");
                    session.mode = Mode::Passive;
                    session.ftp.set_mode(Mode::Passive);
                }
                other => return other,
            }
        }
    }

    async fn store_in(
        &self,
        session: &mut Session,
        upload: &Upload,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Stored, Failure> {
        let (target, part) = (self.path(&upload.name), self.path(&part_name(upload)));
        let mismatch = |found| ArchiveError::Mismatch {
            address: self.address.clone(),
            name: upload.name.clone(),
            expected: upload.size_bytes,
            found,
        };
        let stored = Stored { name: upload.name.clone(), size_bytes: upload.size_bytes };
        match self.size(session, &target).await? {
            Some(size) if size == upload.size_bytes => return Ok(stored),
            Some(size) => return Err(mismatch(size).into()),
            None => self.make_folders(session, &target).await?,
        }
        let there = self.size(session, &part).await?;
        let offset = self.resume_at(session, upload, &part, there).await?;
        progress(offset);
        if offset < upload.size_bytes || there.is_none() {
            self.send(session, upload, &part, offset, progress).await?;
        }
        let size = self.size(session, &part).await?.unwrap_or(0);
        if size != upload.size_bytes {
            self.discard(session, &part).await;
            return Err(mismatch(size).into());
        }
        if self.hash_of(session, &part).await?.is_some_and(|found| found != upload.sha256) {
            self.discard(session, &part).await;
            let detail = format!("the checksum of {} differs, it is sent again", upload.name);
            return Err(ArchiveError::Protocol { address: self.address.clone(), detail }.into());
        }
        let renamed = self.command("publishing", session.ftp.rename(part.as_str(), target.as_str())).await;
        match self.size(session, &target).await? {
            Some(size) if size == upload.size_bytes => Ok(stored),
            Some(size) => Err(mismatch(size).into()),
            None => Err(renamed.err().unwrap_or_else(|| mismatch(0).into())),
        }
    }

    /// From where to go on with a partial upload: nothing of it is trusted that does not compare equal.
    async fn resume_at(
        &self,
        session: &mut Session,
        upload: &Upload,
        part: &str,
        there: Option<u64>,
    ) -> Result<u64, Failure> {
        let size = match there {
            None | Some(0) => return Ok(0),
            Some(size) => size,
        };
        if size <= upload.size_bytes && self.has_same_tail(session, upload, part, size).await? {
            return Ok(size);
        }
        tracing::warn!(address = %self.address, part, size, "a partial upload is not ours, it is sent anew");
        self.command("removing a partial upload", session.ftp.rm(part)).await?;
        Ok(0)
    }

    async fn has_same_tail(
        &self,
        session: &mut Session,
        upload: &Upload,
        part: &str,
        size: u64,
    ) -> Result<bool, Failure> {
        let from = size.saturating_sub(COMPARED_BYTES);
        let mut stream = match self.open(session, part, from, Transfer::Retrieve).await {
            Ok(stream) => stream,
            // An account that may only write cannot compare; the name still says whose content it is.
            Err(failure) if failure.is_answer() && !failure.wants_tls12 => return Ok(true),
            Err(failure) => return Err(failure),
        };
        let mut theirs = Vec::new();
        let wanted = size - from;
        self.timed("comparing a partial upload", self.options.stall_timeout, async {
            (&mut stream).take(wanted + 1).read_to_end(&mut theirs).await.map_err(FtpError::ConnectionError)
        })
        .await?;
        let finished = self.command("comparing a partial upload", stream.finish()).await;
        // After a cut connection the server may still be writing what it had received, so there is more than it said:
        // it is not read to its end, and the server may complain about that.
        let is_growing = theirs.len() as u64 > wanted;
        theirs.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        match finished {
            Err(failure) if !(is_growing && failure.is_answer()) => return Err(failure),
            _ => {}
        }
        let ours = async {
            let mut file = tokio::fs::File::open(&upload.file).await?;
            file.seek(io::SeekFrom::Start(from)).await?;
            let mut ours = Vec::new();
            file.take(wanted).read_to_end(&mut ours).await?;
            Ok(ours)
        };
        let ours = ours.await.map_err(|error| local(upload, &error))?;
        Ok(ours == theirs)
    }

    async fn send(
        &self,
        session: &mut Session,
        upload: &Upload,
        part: &str,
        offset: u64,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Failure> {
        let mut file = tokio::fs::File::open(&upload.file).await.map_err(|error| local(upload, &error))?;
        file.seek(io::SeekFrom::Start(offset)).await.map_err(|error| local(upload, &error))?;
        let mut stream = match self.open(session, part, offset, Transfer::Store).await {
            Err(failure) if offset > 0 && matches!(failure.code, 500..=504 | 550 | 553 | 554) => {
                self.open(session, part, offset, Transfer::Append).await?
            }
            other => other?,
        };
        let (mut sent, mut buffer) = (offset, vec![0; READ_BYTES]);
        loop {
            let read = file.read(&mut buffer).await.map_err(|error| local(upload, &error))?;
            if read == 0 {
                break;
            }
            for chunk in buffer.get(..read).unwrap_or_default().chunks(SEND_BYTES) {
                let write = async { stream.write_all(chunk).await.map_err(FtpError::ConnectionError) };
                if let Err(failure) = self.timed("sending", self.options.stall_timeout, write).await {
                    return Err(self.why(stream, failure).await);
                }
                sent += chunk.len() as u64;
                progress(sent);
            }
        }
        self.timed("finishing a transfer", self.options.stall_timeout, stream.finish()).await?;
        if sent == upload.size_bytes {
            return Ok(());
        }
        let changed = io::Error::other(format!("it has {sent} bytes, {} were announced", upload.size_bytes));
        Err(local(upload, &changed).into())
    }

    /// When sending failed, the server often says why on the control connection: a full disk, for example.
    async fn why(&self, stream: TransferStream<AsyncRustlsStream>, failure: Failure) -> Failure {
        match self.timed("asking why it stopped", self.options.connect_timeout, stream.finish()).await {
            Err(told) if told.code >= 400 => Failure { code: 0, ..told },
            _ => failure,
        }
    }

    async fn discard(&self, session: &mut Session, part: &str) {
        if let Err(failure) = self.command("removing a partial upload", session.ftp.rm(part)).await {
            tracing::warn!(error = %failure.error, part, "a partial upload stays");
        }
    }

    /// The archive's own SHA-256 of a file, if it can tell.
    async fn hash_of(&self, session: &mut Session, path: &str) -> Result<Option<[u8; 32]>, Failure> {
        let ftp = &mut session.ftp;
        let told = match session.hash {
            None => return Ok(None),
            Some(HashCommand::Hash) => {
                self.command("asking for a checksum", async {
                    ftp.custom_command("OPTS HASH SHA-256", &[Status::CommandOk]).await?;
                    ftp.custom_command(format!("HASH {path}"), &[Status::File]).await
                })
                .await
            }
            Some(HashCommand::Xsha256) => {
                let command = ftp.custom_command(
                    format!("XSHA256 {path}"),
                    &[Status::File, Status::RequestedFileActionOk, Status::CommandOk],
                );
                self.command("asking for a checksum", command).await
            }
        };
        match told {
            Ok(response) => Ok(reply::parse(&response.body).and_then(|(_, words)| reply::sha256(&words))),
            // It was offered and is refused: the size has to do.
            Err(failure) if failure.is_answer() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn read_in(&self, session: &mut Session, name: &str, range: &Range<u64>) -> Result<(Bytes, bool), Failure> {
        let path = self.path(name);
        let none = || ArchiveError::NotFound { name: name.to_owned() };
        let size = self.size(session, &path).await?.ok_or_else(none)?;
        let end = range.end.min(size);
        if range.start >= end {
            return Ok((Bytes::new(), true));
        }
        let mut stream = self.open(session, &path, range.start, Transfer::Retrieve).await?;
        let wanted = end - range.start;
        let mut out = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        while (out.len() as u64) < wanted {
            let missing = wanted - out.len() as u64;
            let mut piece = (&mut stream).take(missing.min(SEND_BYTES as u64));
            let read = async { piece.read_to_end(&mut out).await.map_err(FtpError::ConnectionError) };
            if self.timed("reading", self.options.stall_timeout, read).await? == 0 {
                break;
            }
        }
        if (out.len() as u64) < wanted {
            let detail = format!("{name} ended {} bytes early", wanted - out.len() as u64);
            return Err(ArchiveError::Unreachable { address: self.address.clone(), detail }.into());
        }
        // In the middle of a file the server has to be stopped; if it does not agree how, the connection is given up.
        let is_in_step = if end == size {
            self.command("finishing a transfer", stream.finish()).await?;
            true
        } else {
            self.command("stopping a transfer", session.ftp.abort(stream)).await.is_ok()
        };
        Ok((out.into(), is_in_step))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    Store,
    Append,
    Retrieve,
}

fn local(upload: &Upload, error: &io::Error) -> ArchiveError {
    ArchiveError::Local { path: upload.file.clone(), detail: error.to_string() }
}

impl Archive for FtpArchive {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn store<'a>(
        &'a self,
        upload: &'a Upload,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> BoxFuture<'a, Result<Stored, ArchiveError>> {
        Box::pin(async move {
            checked_name(&upload.name)?;
            let mut slot = self.storing.lock().await;
            loop {
                let failure = match self.session(slot.take()).await {
                    Err(failure) => failure,
                    Ok(mut session) => {
                        let result = self.store_in(&mut session, upload, progress).await;
                        self.keep(&mut slot, session, &result);
                        match result {
                            Ok(stored) => return Ok(stored),
                            Err(failure) => failure,
                        }
                    }
                };
                if !self.learns_tls12(&failure) {
                    return Err(failure.error);
                }
                *slot = None;
                tracing::info!(address = %self.address, "trying again with TLS 1.2");
            }
        })
    }

    fn stat<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Stored>, ArchiveError>> {
        Box::pin(async move {
            checked_name(name)?;
            let mut slot = self.reading.lock().await;
            let mut session = self.session(slot.take()).await.map_err(|failure| failure.error)?;
            let result = self.size(&mut session, &self.path(name)).await;
            self.keep(&mut slot, session, &result);
            let size = result.map_err(|failure| failure.error)?;
            Ok(size.map(|size_bytes| Stored { name: name.to_owned(), size_bytes }))
        })
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<u64>) -> BoxFuture<'a, Result<Bytes, ArchiveError>> {
        Box::pin(async move {
            checked_name(name)?;
            let mut slot = self.reading.lock().await;
            loop {
                let failure = match self.session(slot.take()).await {
                    Err(failure) => failure,
                    Ok(mut session) => match self.read_in(&mut session, name, &range).await {
                        Ok((bytes, is_in_step)) => {
                            *slot = is_in_step.then_some(session);
                            return Ok(bytes);
                        }
                        Err(failure) => failure,
                    },
                };
                if !self.learns_tls12(&failure) {
                    return Err(failure.error);
                }
            }
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ArchiveError>> {
        Box::pin(async move {
            checked_name(name)?;
            let mut slot = self.reading.lock().await;
            let mut session = self.session(slot.take()).await.map_err(|failure| failure.error)?;
            let path = self.path(name);
            let removed = async {
                let removed = self.command("removing", session.ftp.rm(path.as_str())).await;
                match removed {
                    // Most servers say 550 for a file that is not there as well as for one that may not be removed.
                    Err(failure) if failure.code == 550 && self.size(&mut session, &path).await?.is_none() => Ok(()),
                    other => other,
                }
            };
            let result = removed.await;
            self.keep(&mut slot, session, &result);
            result.map_err(|failure| failure.error)
        })
    }
}
