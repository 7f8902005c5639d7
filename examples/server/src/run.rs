//! The commands `run`, `check`, `pass` and `verify`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use godvision_access::pass::{Doors, PassClaims, PassId, PassVerifier, Uses};
use godvision_core::journal::{Entry, Journal as _, Level};
use godvision_core::site::SiteDocument;
use godvision_core::{Clock as _, Name, Secret, SystemClock, WallTime};
use tokio::net::TcpListener;

use crate::cli::{ADMIN_PASSWORD_VARIABLE, Check, Pass, Run, SECRETS_KEY_VARIABLE, Verify};
use crate::persons;
use crate::site::{self, SITE_FILE};
use crate::store::{self, Store};
use crate::web::{AppState, WebOptions, serve};
use crate::wiring::{Parts, Wiring};

/// A secret from the environment.
fn variable(name: &str) -> Option<Secret> {
    std::env::var(name).ok().map(Secret::from)
}

/// Runs a site until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, with what to do.
pub async fn run(options: Run) -> anyhow::Result<ExitCode> {
    let store = Store::open(&options.data, variable(SECRETS_KEY_VARIABLE).as_ref(), SystemClock::shared())
        .await
        .with_context(|| format!("cannot open the data folder {}", options.data.display()))?;
    let path = options.data.join(SITE_FILE);
    if path.exists() {
        if !options.cameras.is_empty() || options.archive.is_some() {
            println!("{} is there and counts; --camera and --archive only fill an empty data folder", path.display());
        }
    } else {
        let first = site::first_site(&options, &store).await?;
        site::write(&path, &first)?;
        println!("wrote {}", path.display());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let document = match SiteDocument::parse(&text) {
        Ok(document) => document,
        Err(errors) => return Ok(refuse(&path, &errors.0)),
    };
    let passes = PassVerifier::new(document.site.clone());
    let parts = Parts::open(&options.data, options.models.as_deref(), store, passes).await?;
    let wiring = match Wiring::start(parts, &document).await {
        Ok(wiring) => wiring,
        Err(error) => match error.downcast::<godvision_core::site::SiteErrors>() {
            Ok(errors) => return Ok(refuse(&path, &errors.0)),
            Err(error) => return Err(error),
        },
    };
    let watching = tokio::spawn(watch_site(path, text, wiring.clone()));
    let ruling = tokio::spawn(watch_rules(wiring.store().clone()));
    let keeping = tokio::spawn(keep_journal(wiring.store().clone(), options.journal_days));
    let served = serve_until_stopped(wiring, options.listen, WebOptions { is_behind_tls: options.behind_tls }).await;
    watching.abort();
    ruling.abort();
    keeping.abort();
    served.map(|()| ExitCode::SUCCESS)
}

/// How often the site document is looked at for changes.
const SITE_EVERY: Duration = Duration::from_secs(2);

/// Puts the site document in force anew whenever its text changes. An editor that writes in two steps is seen in
/// between at worst: that text is refused or applied, and the next one follows.
async fn watch_site(path: PathBuf, mut known: String, wiring: Wiring) {
    loop {
        tokio::time::sleep(SITE_EVERY).await;
        match tokio::fs::read_to_string(&path).await {
            Ok(text) if text == known => {}
            Ok(text) => {
                if let Err(error) = wiring.reload(&text).await {
                    tracing::error!(%error, "the journal does not say what became of the changed site document");
                }
                known = text;
            }
            Err(error) => tracing::warn!(site = %path.display(), %error, "the site document cannot be read"),
        }
    }
}

/// Puts the rule document in force anew whenever its text changes.
async fn watch_rules(store: Store) {
    loop {
        tokio::time::sleep(SITE_EVERY).await;
        if let Err(error) = store.access().look_at_file().await {
            tracing::warn!(%error, "the changed rules are not in force");
        }
    }
}

/// How often the head of the journal is told, old entries go, and who was removed is forgotten.
const JOURNAL_EVERY: Duration = Duration::from_secs(3600);

/// Tells the head of the journal on standard output, where a log that lies elsewhere takes it up, and removes what is
/// older than `days`. Who was removed longer ago than can be undone is forgotten by the same clock.
async fn keep_journal(store: Store, days: Option<u16>) {
    let mut told = None;
    loop {
        if let Some(days) = days
            && let Err(error) = retire(&store, days).await
        {
            tracing::error!(error = format!("{error:#}"), "old entries of the journal stay");
        }
        if let Err(error) = store.access().forget_removed().await {
            tracing::error!(%error, "who was removed is not forgotten yet");
        }
        match store.journal().head().await {
            Ok(head) if told == Some(head) => {}
            Ok(head) => {
                println!("{} the head of the journal is {head}", SystemClock.now().wall);
                told = Some(head);
            }
            Err(error) => tracing::error!(%error, "the head of the journal cannot be read"),
        }
        tokio::time::sleep(JOURNAL_EVERY).await;
    }
}

async fn retire(store: &Store, days: u16) -> anyhow::Result<()> {
    const MICROS_PER_DAY: i64 = 24 * 3600 * 1_000_000;
    let now = SystemClock.now();
    let gone = store.journal().retire(now.wall.plus_micros(-i64::from(days) * MICROS_PER_DAY)).await?;
    if gone > 0 {
        let text = format!("{gone} entries older than {days} days were removed");
        let entry = Entry::new(now, Name::new("journal")?, Level::Info, "journal.retired", text);
        store.journal().append(entry.with("entries", gone)).await?;
    }
    Ok(())
}

/// Verifies the journal of a data folder: exit code 0 if it is what was written, 1 if not, 2 if it cannot be read.
///
/// # Errors
/// Never: what cannot be read is told too.
pub async fn verify(options: Verify) -> anyhow::Result<ExitCode> {
    const TOLD_EVERY: u64 = 100_000;
    let mut told = 0;
    let progress = |entries: u64| {
        if entries / TOLD_EVERY > told {
            told = entries / TOLD_EVERY;
            eprintln!("{entries} entries are right so far");
        }
    };
    let verified = match store::verify(&options.data, &options.heads, progress).await {
        Ok(verified) => verified,
        Err(error) => {
            eprintln!("godvision-server: {:#}", anyhow::Error::from(error));
            return Ok(ExitCode::from(2));
        }
    };
    if verified.anchor.id > 0 {
        println!("the oldest kept entry follows {}", verified.anchor);
    }
    println!("{} entries are what was written; the last of them is {}", verified.entries, verified.head);
    match verified.broken {
        None => Ok(ExitCode::SUCCESS),
        Some(broken) => {
            println!("NOT RIGHT: {broken}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn refuse(path: &Path, errors: &[godvision_core::site::SiteError]) -> ExitCode {
    let mut text = format!("{} is refused:\n", path.display());
    for error in errors {
        let _ = writeln!(text, "  {error}");
    }
    eprint!("{text}");
    ExitCode::from(2)
}

/// Serves the pages of a running site, says where, and drains everything when the program is told to stop.
///
/// # Errors
/// If the address cannot be served, or the first administrator not be made.
pub async fn serve_until_stopped(wiring: Wiring, listen: SocketAddr, options: WebOptions) -> anyhow::Result<()> {
    let listener = bind(listen).await?;
    announce(&wiring, listener.local_addr()?).await?;
    let state = state(&wiring, options);
    serve(listener, state, stop_signal()).await;
    println!("stopping: finishing clips");
    wiring.shutdown().await;
    Ok(())
}

/// Listens on `address`.
///
/// # Errors
/// If it cannot be served, with what to do.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another with --listen, for example 127.0.0.1:0"))
}

/// What the web layer needs of a running site.
pub fn state(wiring: &Wiring, options: WebOptions) -> AppState {
    AppState::new(wiring.system(), wiring.store().clone(), wiring.live().clone(), SystemClock::shared(), options)
}

/// Makes the first administrator if there is none, and prints the address and, if it was made up here, the password.
/// Returns the password that was made up or given.
///
/// # Errors
/// If the store fails.
pub async fn announce(wiring: &Wiring, address: SocketAddr) -> anyhow::Result<Option<Secret>> {
    let given = variable(ADMIN_PASSWORD_VARIABLE);
    let users = wiring.store().users();
    let made = users.ensure_first_admin(given.clone()).await.context("cannot make the first administrator")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "godvision is at http://{address}/")?;
    match (&made, &given) {
        // The one place where this password is ever shown: it is not kept in clear.
        (Some(password), _) => writeln!(out, "sign in as admin with the password {}", password.expose())?,
        (None, Some(_)) => {
            writeln!(out, "the first administrator's password was taken from {ADMIN_PASSWORD_VARIABLE}, once")?;
        }
        (None, None) => {}
    }
    out.flush()?;
    Ok(made.or(given))
}

/// Resolves at SIGINT or SIGTERM.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Checks a site document: exit code 0 if it would run, 2 if not, with every error on standard error.
pub fn check(options: &Check) -> ExitCode {
    let text = match std::fs::read_to_string(&options.site) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("godvision-server: cannot read {}: {error}", options.site.display());
            return ExitCode::FAILURE;
        }
    };
    let document = match SiteDocument::parse(&text) {
        Ok(document) => document,
        Err(errors) => return refuse(&options.site, &errors.0),
    };
    match crate::wiring::check(&document) {
        Ok(Ok(())) => {
            let (components, links) = (document.components.len(), document.links.len());
            println!("{}: {components} components, {links} links, nothing wrong", options.site.display());
            ExitCode::SUCCESS
        }
        Ok(Err(errors)) => refuse(&options.site, &errors.0),
        Err(error) => {
            eprintln!("godvision-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes a pass signed by the site's own key and prints its text and its code.
///
/// # Errors
/// If the folder cannot be opened or the period is empty.
pub async fn pass(options: Pass) -> anyhow::Result<ExitCode> {
    let clock = SystemClock;
    let store = Store::open(&options.data, variable(SECRETS_KEY_VARIABLE).as_ref(), SystemClock::shared()).await?;
    let path = options.data.join(SITE_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // A pass is of one site: the name stands in its document.
    let site = match SiteDocument::parse(&text) {
        Ok(document) => document.site,
        Err(errors) => return Ok(refuse(&path, &errors.0)),
    };
    let midnight = |date: jiff::civil::Date| -> anyhow::Result<WallTime> {
        Ok(WallTime::from_unix_seconds(date.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_second()))
    };
    let claims = PassClaims {
        id: PassId(persons::random()?),
        doors: options.door.clone().map_or(Doors::All, Doors::One),
        not_before: options.from.map_or_else(|| Ok(clock.now().wall), midnight)?,
        not_after: midnight(options.until)?,
        uses: options.uses.map_or(Uses::Any, Uses::Times),
        person: Some(options.person),
    };
    let entry = Entry::new(clock.now(), Name::new("passes")?, Level::Security, "pass.made", "a pass was made")
        .with("pass", claims.id)
        .with("person", claims.person.as_ref().map_or("anyone", Name::as_str))
        .with("until", claims.not_after);
    // So that it is listed on the pages and can be withdrawn there.
    let text = store.access().make_pass(&site, &claims, "godvision-server pass", entry).await?;
    store.close().await;
    let code = qrcode::QrCode::new(text.expose().as_bytes()).context("the pass does not fit a QR code")?;
    println!("{}", code.render::<qrcode::render::unicode::Dense1x2>().build());
    // Whoever asked for the pass is meant to have it.
    println!("{}", text.expose());
    Ok(ExitCode::SUCCESS)
}
