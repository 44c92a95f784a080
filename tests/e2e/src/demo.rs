//! The demo: Rekey's main job on real parts, shown and checked step by step.

mod background;
mod chapters;
mod current_cluster;
mod left_running;
mod operator_build;
mod output;
mod settings;
mod signals;
mod stage;
mod start_and_stop;
mod walkthrough;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::{runtime::Runtime, time::timeout};

use self::{
    output::{Output, give_up, put},
    settings::{Keep, Settings},
    signals::Signals,
    stage::Stage,
    walkthrough::Walkthrough,
};

/// The exit code of a program after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Runs the demo as the environment asks.
#[must_use]
pub fn main() -> ExitCode {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let ended = Settings::read().and_then(|settings| {
        if matches!(settings.keep, Keep::Background(_)) {
            background::leave_terminal()?;
        }
        let runtime = Runtime::new()?;
        let ended = runtime.block_on(async {
            if settings.keep == Keep::InBackground { background::show(&settings).await } else { run(&settings).await }
        });
        // A build that was interrupted may still hold a thread.
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    });
    match ended {
        Ok(code) => code,
        Err(error) => {
            give_up(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: &Settings) -> Result<ExitCode> {
    let began = Instant::now();
    let mut out = Output::new(settings.colour);
    let mut signals = Signals::new()?;
    let opened = tokio::select! {
        opened = start_and_stop::open(settings, &mut out) => opened,
        () = signals.next() => return Ok(interrupted()),
    };
    // Ctrl-C reaches a build, too, so its failure is no news then.
    if opened.is_err() && timeout(Duration::from_millis(200), signals.next()).await.is_ok() {
        return Ok(interrupted());
    }
    let opened = opened?;
    let Some(stage) = opened else {
        put("Nothing was changed.");
        return Ok(ExitCode::SUCCESS);
    };
    let mut walk = Walkthrough { stage: &stage, out: &mut out };
    let whole = tokio::select! {
        () = chapters::tell(&mut walk) => true,
        () = signals.next() => false,
    };
    if whole && settings.keep != Keep::Not {
        hold(&stage, &settings.keep, &mut out, &mut signals).await;
    }
    tokio::select! {
        () = leave(stage, &mut out, whole) => {}
        () = signals.next() => put("demo: interrupted again, not everything is removed; the commands for that are above"),
    }
    if !whole {
        return Ok(interrupted());
    }
    out.pause();
    let (whole, kept) = (
        began.elapsed().as_secs_f64(),
        if settings.keep == Keep::Not { "" } else { ", the time to look around included" },
    );
    out.say(&format!("All of it took {whole:.0} s{kept}."));
    out.sum();
    Ok(if out.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Leaves everything running until the user has seen enough.
async fn hold(stage: &Stage, keep: &Keep, out: &mut Output, signals: &mut Signals) {
    let told = left_running::tell(stage, keep, out);
    let left = told.and_then(|()| match keep {
        Keep::Background(log) => background::leave_running(log),
        Keep::Not | Keep::Foreground | Keep::InBackground => Ok(()),
    });
    if let Err(error) = left {
        return out.failed("everything is left running", Duration::ZERO, &format!("{error:#}"), None);
    }
    if let Keep::Background(log) = keep {
        out.without_colour();
        signals.next().await;
        background::end(log);
    } else {
        signals.next().await;
    }
}

/// Stops and removes what the demo made.
async fn leave(stage: Stage, out: &mut Output, whole: bool) {
    out.heading(if whole { "Cleaning up" } else { "Interrupted. Cleaning up" });
    let began = Instant::now();
    let logs = (out.failures() > 0).then(|| stage.logs()).flatten();
    match start_and_stop::close(stage, out).await {
        Ok(detail) => out.passed(&detail, began.elapsed()),
        Err(error) => out.failed("everything is stopped and removed", began.elapsed(), &format!("{error:#}"), None),
    }
    if let Some(logs) = logs {
        out.say(&format!("The logs are in {}", logs.display()));
    }
}

fn interrupted() -> ExitCode {
    put("demo: interrupted");
    ExitCode::from(INTERRUPTED)
}
