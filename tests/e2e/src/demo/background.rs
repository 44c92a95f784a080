//! The demo in the background. One process shows it and another one runs it: the second prints into a log, which the
//! first shows until everything is left running. Then the first ends, and nothing ties the second to the terminal.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};
use tokio::time::sleep;

use super::{settings::Settings, signals::Signals};
use crate::operator::target;

/// The variable of the process that runs it: where its log is.
pub const LOG: &str = "REKEY_DEMO_LOG";
/// Its variable that is set if the output has colour.
pub const COLOUR: &str = "REKEY_DEMO_COLOUR";

/// Starts the process that runs it, and shows what it prints until it is left running or has ended.
///
/// # Errors
/// When it cannot be started, or its log cannot be read.
pub async fn show(settings: &Settings) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let path = target()?.join(format!("demo-{}.log", std::process::id()));
    fs::remove_file(left_running(&path)).ok(); // of an earlier process with our id
    let written = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    let mut shown = File::open(&path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.env(LOG, &path).stdout(written.try_clone()?).stderr(written);
    if settings.colour {
        command.env(COLOUR, "1");
    }
    if settings.yes || !settings.current {
        command.stdin(Stdio::null()); // it asks nothing
    }
    let mut child = command.spawn().context("start the demo in the background")?;
    loop {
        // Check this first: the code below shows what was printed before.
        let (left, ended) = (left_running(&path).exists(), child.try_wait()?);
        show_more(&mut shown)?;
        if left {
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(status) = ended {
            fs::remove_file(&path).ok();
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
        }
        tokio::select! {
            () = sleep(Duration::from_millis(50)) => {}
            // It is in a session of its own, so Ctrl-C does not reach it.
            () = signals.next() => interrupt(&child)?,
        }
    }
}

fn show_more(log: &mut File) -> Result<()> {
    let mut more = Vec::new();
    log.read_to_end(&mut more).context("read what the demo prints")?;
    let mut out = std::io::stdout();
    out.write_all(&more).and_then(|()| out.flush()).context("show what the demo prints")
}

fn interrupt(child: &Child) -> Result<()> {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).context("interrupt the demo")
}

/// The file that exists while everything is left running; it holds the process id.
fn left_running(log: &Path) -> PathBuf {
    log.with_extension("pid")
}

/// From now on this process gets no signals of the terminal that it was started in.
///
/// # Errors
/// When the operating system refuses.
pub fn leave_terminal() -> Result<()> {
    setsid().context("start a session").map(drop)
}

/// Lets the process that shows this one end.
///
/// # Errors
/// When the file that says so cannot be written.
pub fn leave_running(log: &Path) -> Result<()> {
    let path = left_running(log);
    fs::write(&path, std::process::id().to_string()).with_context(|| format!("write {}", path.display()))
}

/// It is not left running any more.
pub fn end(log: &Path) {
    fs::remove_file(left_running(log)).ok();
}
