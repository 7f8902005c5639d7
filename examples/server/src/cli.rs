//! The command line: `demo`, `run`, `check`, `pass`, `verify`.
//!
//! Texts that may hold a password (camera and archive addresses) are taken as they are, or from a file (`file:PATH`) or
//! an environment variable (`env:NAME`), so that they need not stand in the process list.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use godvision_core::{Name, Secret};

use crate::store::NotedHead;

/// The environment variable that sets the first administrator's password.
pub const ADMIN_PASSWORD_VARIABLE: &str = "GODVISION_ADMIN_PASSWORD";
/// The environment variable that holds the key of the secrets at rest, instead of a key file in the data folder.
pub const SECRETS_KEY_VARIABLE: &str = "GODVISION_SECRETS_KEY";
/// Longest text taken from a file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Video and access in one program: watch cameras, record motion, archive clips, open doors.
#[derive(Debug, Parser)]
#[command(
    name = "godvision-server",
    version,
    arg_required_else_help = true,
    after_help = "First steps:\n  \
        godvision-server demo\n      \
        everything at once, with a camera, a door and an archive of its own; nothing needed\n  \
        godvision-server run --data ./data --camera yard=rtsp://user:password@192.0.2.7/stream1\n      \
        your own camera; clips are kept in ./data/archive\n  \
        godvision-server run --data ./data --camera yard=file:yard.url --archive env:ARCHIVE_URL\n      \
        the same with addresses that are not on the command line, and an FTP server"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show everything at once: a camera, a door, an archive, all on this computer.
    ///
    /// Starts an RTSP camera that shows a clip of our own making, a simulated relay and a local archive, and opens
    /// nothing to the network but loopback. Within a minute: live video, a clip recorded because something moved, a
    /// door opened by a QR pass, a second pass refused, all of it in the journal.
    Demo(Demo),
    /// Run a site.
    Run(Run),
    /// Check a site document without running it: every error with line, key and reason.
    Check(Check),
    /// Make a QR pass that this site's doors believe, and show it in the terminal.
    ///
    /// The pass only says whose it is: the person must be known (the page People, or DIR/persons.toml), and a rule in
    /// DIR/rules.toml must permit them at the door.
    Pass(Pass),
    /// Verify that the journal is what was written: every entry continues the one before it.
    ///
    /// Reads only; the server may run meanwhile. Exit code 0 if all is right; 1 with the first wrong entry if not; 2 if the
    /// journal cannot be read. A journal that somebody wrote anew from end to end is told only by a head noted elsewhere.
    Verify(Verify),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Verify every promise of the demo from outside, print the list, and exit 0 or 1. Takes 90 s at most.
    #[arg(long)]
    pub check: bool,
    /// Where the pages are served; 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:8420", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Where to keep the demo's data; a temporary folder if not given.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The folder with the models that are too large for the program (number plates); models in the data folder if not
    /// given.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The data folder: site document, database, clips. Made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where the pages are served. Plain HTTP: beyond this computer put a TLS proxy in front.
    #[arg(long, default_value = "127.0.0.1:8420", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// A camera, as NAME=RTSP_URL; repeatable. Fills an empty data folder; afterwards edit DIR/site.toml.
    ///
    /// The URL may be file:PATH or env:VARIABLE. A user name and password in it are kept encrypted, not in the site
    /// document.
    #[arg(long = "camera", value_name = "NAME=RTSP_URL")]
    pub cameras: Vec<CameraArgument>,
    /// Where clips are archived: ftp://user:password@host/path, ftps://... (explicit TLS), or a folder's path.
    ///
    /// May be file:PATH or env:VARIABLE. Fills an empty data folder; without it clips are kept in DIR/archive.
    #[arg(long, value_name = "FTP_URL")]
    pub archive: Option<TextArgument>,
    /// The folder with the models that are too large for the program (number plates); DIR/models if not given.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// How many days the journal is kept; for ever if not given. What is left can still be verified.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    pub journal_days: Option<u16>,
    /// Browsers reach the server over TLS (a proxy in front): cookies are then marked as secure.
    #[arg(long)]
    pub behind_tls: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The site document.
    #[arg(value_name = "SITE.toml")]
    pub site: PathBuf,
}

/// Arguments of `pass`.
#[derive(Debug, Args)]
pub struct Pass {
    /// The data folder of the site.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Whose pass it is.
    #[arg(long, value_name = "NAME")]
    pub person: Name,
    /// The door it is for; every door if not given.
    #[arg(long, value_name = "NAME")]
    pub door: Option<Name>,
    /// First day, as YYYY-MM-DD (midnight UTC); today if not given.
    #[arg(long, value_name = "DATE")]
    pub from: Option<jiff::civil::Date>,
    /// The day on which it is no longer valid.
    #[arg(long, value_name = "DATE")]
    pub until: jiff::civil::Date,
    /// How often it may be used; as often as wanted if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub uses: Option<u8>,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The data folder of the site.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// A head that was noted earlier, ID:HASH or the hash: it must still stand in the journal. Repeatable.
    #[arg(long = "head", value_name = "HEAD")]
    pub heads: Vec<NotedHead>,
}

/// Why an argument cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// No `=` between name and address.
    #[error("write NAME=RTSP_URL, for example yard=rtsp://192.0.2.7/stream1")]
    NoName,
    /// The name is no name.
    #[error("the camera's name: {0}")]
    Name(#[from] godvision_core::NameError),
    /// A slash in the name.
    #[error("the camera's name may not hold '/'")]
    Slash,
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is too long to be an address.
    #[error("{path} is longer than {FILE_BYTES_MAX} bytes: it should hold one address")]
    LongFile {
        /// The file.
        path: PathBuf,
    },
    /// The variable is not set or no text.
    #[error("the environment variable {name} is not set")]
    Variable {
        /// The variable.
        name: String,
    },
}

/// A text given as it is, by a file or by an environment variable. Never printed.
#[derive(Clone)]
pub struct TextArgument(Secret);

impl TextArgument {
    /// Reads the text where it is.
    ///
    /// # Errors
    /// [`ArgumentError`] if it cannot be read.
    pub fn resolve(&self) -> Result<Secret, ArgumentError> {
        let text = self.0.expose();
        if let Some(path) = text.strip_prefix("file:") {
            let path = PathBuf::from(path);
            let read = || -> std::io::Result<Option<String>> {
                if std::fs::metadata(&path)?.len() > FILE_BYTES_MAX {
                    return Ok(None);
                }
                std::fs::read_to_string(&path).map(Some)
            };
            return match read() {
                Ok(Some(text)) => Ok(Secret::from(text.trim())),
                Ok(None) => Err(ArgumentError::LongFile { path }),
                Err(source) => Err(ArgumentError::File { path, source }),
            };
        }
        match text.strip_prefix("env:") {
            Some(name) => {
                std::env::var(name).map(Secret::from).map_err(|_| ArgumentError::Variable { name: name.to_owned() })
            }
            None => Ok(self.0.clone()),
        }
    }
}

impl std::str::FromStr for TextArgument {
    type Err = ArgumentError;
    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        Ok(Self(Secret::from(text)))
    }
}

impl fmt::Debug for TextArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `NAME=RTSP_URL`.
#[derive(Clone, Debug)]
pub struct CameraArgument {
    /// What the camera is called.
    pub name: Name,
    /// Its address.
    pub url: TextArgument,
}

impl std::str::FromStr for CameraArgument {
    type Err = ArgumentError;
    fn from_str(text: &str) -> Result<Self, ArgumentError> {
        let (name, url) = text.split_once('=').ok_or(ArgumentError::NoName)?;
        if name.contains('/') {
            return Err(ArgumentError::Slash);
        }
        Ok(Self { name: Name::new(name)?, url: url.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cameras_are_named_and_their_addresses_never_printed() {
        let cli = Cli::parse_from(["x", "run", "--data", "d", "--camera", "yard=rtsp://u:hunter2@c/a=b"]);
        assert!(!format!("{cli:?}").contains("hunter2"));
        let Command::Run(run) = cli.command else { panic!("another command") };
        assert_eq!(run.cameras[0].name.as_str(), "yard");
        assert_eq!(run.cameras[0].url.resolve().unwrap().expose(), "rtsp://u:hunter2@c/a=b");
        for (wrong, told) in
            [("rtsp://c/", "NAME=RTSP_URL"), ("a b=rtsp://c/", "may not stand"), ("a/b=rtsp://c/", "'/'")]
        {
            let error = wrong.parse::<CameraArgument>().unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn addresses_come_from_files_and_variables() {
        let path = std::env::temp_dir().join(format!("godvision-cli-{}.url", std::process::id()));
        std::fs::write(&path, "rtsp://from-file/\n").unwrap();
        let from_file: TextArgument = format!("file:{}", path.display()).parse().unwrap();
        assert_eq!(from_file.resolve().unwrap().expose(), "rtsp://from-file/");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(from_file.resolve(), Err(ArgumentError::File { .. })));
        let from_variable: TextArgument = "env:PATH".parse().unwrap();
        assert_eq!(from_variable.resolve().unwrap().expose(), std::env::var("PATH").unwrap());
        let unset: TextArgument = "env:GODVISION_SURELY_NOT_SET".parse().unwrap();
        assert!(unset.resolve().unwrap_err().to_string().contains("GODVISION_SURELY_NOT_SET"));
    }
}
