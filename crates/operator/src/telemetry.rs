//! Logs, also of panics.

use std::{
    io::IsTerminal as _,
    panic::{Location, PanicHookInfo},
};

use tracing::Subscriber;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::args::{LogFormat, LogLevel};

/// The names of our own crates start with it.
const OURS: &str = "rekey";
/// The level of libraries. Below it some log bodies and credentials, or do so if an environment variable asks for it
/// (`LOG_SIGNABLE_BODY`, `LOG_SENSITIVE_BODIES`). We never enable those levels, so no variable matters.
const LIBRARIES: LevelFilter = LevelFilter::WARN;
/// Targets whose warnings we drop: failures that we report ourselves, or that are none.
const QUIETER: [(&str, LevelFilter); 3] = [
    ("kube_client", LevelFilter::ERROR),
    ("kube_client::client::builder", LevelFilter::OFF),
    ("aws_config", LevelFilter::ERROR),
];

/// Starts logging to standard error. From now on the log names a panic by its place alone.
pub fn start(format: LogFormat, level: LogLevel) {
    let colours = std::io::stderr().is_terminal();
    match format {
        LogFormat::Json => json(level, std::io::stderr).init(),
        LogFormat::Text => {
            let lines = tracing_subscriber::fmt::layer().compact().with_writer(std::io::stderr).with_ansi(colours);
            tracing_subscriber::registry().with(targets(level)).with(lines).init();
        }
    }
    std::panic::set_hook(Box::new(panicked));
}

fn json<W>(level: LogLevel, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).json();
    let lines = lines.flatten_event(true).with_current_span(true).with_span_list(false);
    tracing_subscriber::registry().with(targets(level)).with(lines)
}

/// Our own crates log at the level asked for, all others at most at [`LIBRARIES`]. Reads nothing from the environment.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let quieter = QUIETER.map(|(library, most)| (library, most.min(level)));
    Targets::new().with_default(LIBRARIES.min(level)).with_targets(quieter).with_target(OURS, level)
}

/// The message of a panic may hold anything, also a value, so we do not log it.
fn panicked(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), place);
    tracing::error!(place, "a panic, which is a bug; please report it with this place and the version");
}

/// File and line; of libraries without the directories of the machine that built this.
fn place(location: &Location<'_>) -> String {
    let file = location.file();
    let after = |mark: &str| file.split_once(mark)?.1.split_once('/').map(|(_, file)| file);
    let file = after("/registry/src/").or_else(|| after("/rustc/")).unwrap_or(file);
    format!("{file}:{}", location.line())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` logs at this level.
    fn logged(level: LogLevel, work: impl FnOnce()) -> String {
        let log = Log::default();
        let writer = log.clone();
        tracing::subscriber::with_default(json(level, move || writer.clone()), work);
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_panic_tells_its_place_and_not_its_message() {
        std::panic::set_hook(Box::new(panicked));
        let log = logged(LogLevel::Error, || {
            let values: Vec<u8> = Vec::new();
            std::panic::catch_unwind(|| panic!("canary {}", values.len())).unwrap_err();
        });
        drop(std::panic::take_hook());
        assert!(log.contains(concat!("\"place\":\"", file!(), ":")), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }

    #[test]
    fn libraries_say_no_more_than_a_warning_at_any_level() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            let log = logged(level, || {
                tracing::trace!("ours at trace");
                tracing::info!(target: "rekey_providers::vault", "ours at info");
                tracing::error!(target: "aws_sigv4::http_request::sign", "theirs at error");
                tracing::info!(target: "aws_sigv4::http_request::sign", "canary");
                tracing::trace!(target: "aws_sigv4::http_request::sign", "canary");
                tracing::trace!(target: "any_other::library", "canary");
                tracing::debug!(target: "log", "canary");
                tracing::warn!(target: "kube_client::client::builder", "canary");
                tracing::error!(target: "kube_client::client::builder", "canary");
                tracing::warn!(target: "aws_config::profile", "canary");
            });
            assert!(!log.contains("canary"), "{level:?}: {log}");
            assert!(log.contains("theirs at error"), "{level:?}: {log}");
            assert_eq!(log.contains("ours at trace"), level == LogLevel::Trace, "{level:?}: {log}");
            let wanted = matches!(level, LogLevel::Info | LogLevel::Debug | LogLevel::Trace);
            assert_eq!(log.contains("ours at info"), wanted, "{level:?}: {log}");
        }
    }
}
