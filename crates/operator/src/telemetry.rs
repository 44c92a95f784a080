//! Logs.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, LogLevel};

/// Libraries that would log bodies or credentials below these levels. Neither flag nor environment lowers them.
const FLOORS: &str = "kube_client=error,kube_client::client::builder=off,aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,aws_sdk_secretsmanager=warn,\
                      aws_sdk_ssm=warn,aws_sdk_sts=warn,aws_config=error,hyper=info,hyper_util=info,h2=info,rustls=info,reqwest=info,rustify=warn,vaultrs=warn,tower=info";

/// Starts logging to standard error.
pub fn start(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = EnvFilter::new(format!("{level},{FLOORS}"));
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
        LogFormat::Text => builder.compact().init(),
    }
}
