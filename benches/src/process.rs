//! Contenders as processes: started, watched, ended, found on the `PATH`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cpu;

/// How long a contender may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a contender is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its standard input ends.
    EndOfInput,
    /// Ctrl-C: `ffmpeg` completes its files.
    Interrupt,
    /// `motion` completes its films.
    Terminate,
}

/// A running contender. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stop: Stop,
}

impl Running {
    /// Starts `command`; what it says goes to `log`.
    ///
    /// # Errors
    /// It cannot be started, or the log cannot be written.
    pub fn start(command: &mut Command, stop: Stop, log: &Path) -> io::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { child, stop })
    }

    /// CPU time so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&mut self) -> io::Result<Duration> {
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("it ended too early: {status}")));
        }
        cpu::of_process(self.child.id())
    }

    /// Most memory it has held so far, in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_bytes(&self) -> io::Result<u64> {
        cpu::peak_bytes(self.child.id())
    }

    /// Tells it to end and waits; kills it if it does not.
    ///
    /// # Errors
    /// The system refuses to.
    pub fn stop(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        if self.stop != Stop::EndOfInput {
            signal(&self.child, self.stop)?;
        }
        for _ in 0..PATIENCE.as_millis() / 50 {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            pause(Duration::from_millis(50));
        }
        self.child.kill()?;
        self.child.wait()?;
        Err(io::Error::new(io::ErrorKind::TimedOut, "it had to be killed"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
fn signal(child: &Child, stop: Stop) -> io::Result<()> {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let signal = if stop == Stop::Interrupt { Signal::SIGINT } else { Signal::SIGTERM };
    kill(Pid::from_raw(child.id().try_into().map_err(io::Error::other)?), signal)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn signal(_: &Child, _: Stop) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Runs `command` to its end; gives what it printed and the CPU time it used, start-up and all.
///
/// # Errors
/// It cannot be started or fails; its last words are in the error.
pub fn run(command: &mut Command) -> io::Result<(String, Duration)> {
    let before = of_ended_children()?;
    let output = command.stdin(Stdio::null()).output()?;
    let used = of_ended_children()?.saturating_sub(before);
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.trim().lines().last().unwrap_or_default();
        return Err(io::Error::other(format!("{}: {last}", output.status)));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), used))
}

#[cfg(target_os = "linux")]
fn of_ended_children() -> io::Result<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros =
        |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default();
    Ok(Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time())))
}

#[cfg(not(target_os = "linux"))]
fn of_ended_children() -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where `program` is, if it is installed: a path as it is, a name along the `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).exists().then(|| program.into());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Waits: this program measures others, and has nothing better to do.
#[expect(clippy::disallowed_methods, reason = "a program that measures others has to wait for them")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Bytes of all files in `folder` and below.
pub fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
