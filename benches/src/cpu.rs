//! CPU time and memory of processes, and CPU time as a measurement for criterion.
//!
//! Wall-clock time on a shared machine measures the neighbours. Everything here counts what a process itself used, user
//! and system time together, to the nanosecond (the kernel's per-process CPU clocks; Linux only).
//!
//! **Never:** wall-clock time in a figure.

use std::io;
use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};

/// CPU time that this process has used.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the system has no such clock.
pub fn of_this_process() -> io::Result<Duration> {
    system::cpu(None)
}

/// CPU time that process `pid` has used, all its threads together, without its children.
///
/// # Errors
/// The process is gone, or the system has no such clock.
pub fn of_process(pid: u32) -> io::Result<Duration> {
    system::cpu(Some(pid))
}

/// Most memory that process `pid` has held at once, in bytes (resident set, shared pages included).
///
/// # Errors
/// The process is gone, or the system has no `/proc`.
pub fn peak_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.map(|kb| kb * 1024).ok_or_else(|| io::Error::other("the process has no peak memory any more"))
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::time::Duration;

    use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
    use nix::unistd::Pid;

    pub(super) fn cpu(pid: Option<u32>) -> io::Result<Duration> {
        let clock = match pid {
            None => ClockId::CLOCK_PROCESS_CPUTIME_ID,
            Some(pid) => clock_getcpuclockid(Pid::from_raw(pid.try_into().map_err(io::Error::other)?))?,
        };
        Ok(clock_gettime(clock)?.into())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::Duration;

    pub(super) fn cpu(_: Option<u32>) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Criterion's measurement: CPU time of this process instead of wall-clock time.
///
/// ```no_run
/// use criterion::Criterion;
/// use godvision_benches::cpu::CpuTime;
/// let mut criterion = Criterion::default().with_measurement(CpuTime);
/// criterion.bench_function("a sum", |bencher| bencher.iter(|| (0..1000u64).sum::<u64>()));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        of_this_process().expect("a system with per-process CPU clocks")
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Nanoseconds
    }
}

/// Values are nanoseconds of CPU time.
struct Nanoseconds;

impl Nanoseconds {
    fn scaled(values: &mut [f64], factor: f64, unit: &'static str) -> &'static str {
        values.iter_mut().for_each(|value| *value *= factor);
        unit
    }
}

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        match typical {
            ..1e3 => Self::scaled(values, 1.0, "ns CPU"),
            ..1e6 => Self::scaled(values, 1e-3, "us CPU"),
            ..1e9 => Self::scaled(values, 1e-6, "ms CPU"),
            _ => Self::scaled(values, 1e-9, "s CPU"),
        }
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let (amount, unit) = match throughput {
            Throughput::Bytes(bytes) | Throughput::BytesDecimal(bytes) => (*bytes as f64 / 1e6, "MB/s of a core"),
            Throughput::Elements(elements) => (*elements as f64, "/s of a core"),
            // Criterion has more kinds; none is used here.
            _ => (1.0, "runs/s of a core"),
        };
        values.iter_mut().for_each(|nanos| *nanos = amount * 1e9 / *nanos);
        unit
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn work_is_counted_and_waiting_is_not() {
        let start = of_this_process().unwrap();
        let sum = (0..20_000_000u64).fold(0u64, |sum, n| std::hint::black_box(sum ^ n));
        std::hint::black_box(sum);
        assert!(of_this_process().unwrap() > start);
        assert!(of_process(std::process::id()).unwrap() > start);
        assert!(peak_bytes(std::process::id()).unwrap() > 1 << 20);
        let mut sleeper = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        assert!(of_process(sleeper.id()).unwrap() < Duration::from_secs(1));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(of_process(sleeper.id()).is_err(), "gone");
    }
}
