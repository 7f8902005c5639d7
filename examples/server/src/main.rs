//! `godvision-server`: the command line. Everything else is in the library beside it.

use std::process::ExitCode;

use clap::Parser as _;
use godvision_server::cli::{Cli, Command};
use godvision_server::{demo, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let result = match cli.command {
        Command::Check(check) => return run::check(&check),
        Command::Demo(options) => in_runtime(demo::demo(options)),
        Command::Pass(options) => in_runtime(run::pass(options)),
        Command::Run(options) => in_runtime(run::run(options)),
        Command::Verify(options) => in_runtime(run::verify(options)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("godvision-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // Decoding threads end with their senders; nothing else may hold the exit up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

/// Warnings and errors to standard error; `RUST_LOG` (`info`, `godvision_rtsp=debug`, ...) says otherwise.
fn start_log() {
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::prelude::*;
    let filter = std::env::var("RUST_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(tracing::Level::WARN));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}
