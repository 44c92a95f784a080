//! Everything that we and our libraries log while the suite runs, to search it for secrets.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::FmtSpan},
};

/// What was logged so far.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

/// Starts recording everything down to debug, and the fields of every span.
pub fn record() -> Logs {
    let logs = Logs::default();
    let filter = EnvFilter::new("debug,rekey_providers=trace,rustify=trace,vaultrs=trace");
    let recorder = tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::NEW | FmtSpan::CLOSE);
    recorder.with_ansi(false).with_writer(logs.clone()).init();
    logs
}

impl Logs {
    /// The lines that hold one of the secrets.
    pub fn leaks(&self, secrets: &[String]) -> Vec<String> {
        let holds = |line: &&str| secrets.iter().any(|secret| line.contains(secret.as_str()));
        self.text().lines().filter(holds).map(str::to_owned).collect()
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.text().lines().count()
    }

    fn text(&self) -> String {
        self.0.lock().map(|logged| String::from_utf8_lossy(&logged).into_owned()).unwrap_or_default()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut logged) = self.0.lock() {
            logged.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
