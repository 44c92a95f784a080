//! Child processes that stop with the test, whatever happens to it.
//!
//! A child is started through `setpriv --pdeathsig KILL`, so that it dies with this process even when this process is
//! killed. The kernel sends that signal when the *thread* that started the child ends, so all children are started by
//! one thread that lives as long as the process.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

type Job = (Command, Sender<io::Result<Child>>);

/// A running server with its log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    grace: Duration,
}

impl Process {
    /// Starts `program` with `arguments`; its output goes to `<directory>/<name>.log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(name: &str, command: &Command, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open the log {}", log.display()))?;
        let child = start(bound_to_us(command, &output)?)
            .with_context(|| format!("start {name} ({})", command.get_program().to_string_lossy()))?;
        Ok(Self { name: name.to_owned(), child, log, grace: Duration::from_secs(10) })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output and error go.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).context("process id")?;
        kill(Pid::from_raw(id), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// The exit status if it has ended.
    ///
    /// # Errors
    /// When the operating system refuses the request.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When it could not be waited for.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().ok();
        Ok(self.child.wait()?)
    }

    /// Asks it to end (SIGTERM), and kills it after ten seconds.
    ///
    /// # Errors
    /// When it could not be waited for.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM).ok();
        let end = Instant::now() + self.grace;
        while Instant::now() < end {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.kill()
    }

    /// Fails with the end of the log when the process has ended; for loops that wait for readiness.
    ///
    /// # Errors
    /// When the process is no longer running.
    pub fn alive(&mut self) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} ended with {status}; the end of {}:\n{}", self.name, self.log.display(), self.tail(30));
        }
        Ok(())
    }

    /// The last lines of the log.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.exited(), Ok(None)) {
            self.stop().ok();
        }
    }
}

/// A loopback port that was free a moment ago, and that this process does not choose again.
///
/// It is below the range from which the kernel takes ports for outgoing connections: such a connection could take it
/// before its server does. Processes start at different places, for the same reason.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const PORTS: u32 = 20_000;
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(97).wrapping_add(step) % PORTS;
        let port = u16::try_from(12_000 + offset)?;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port between 12000 and 32000 is free on the loopback address")
}

fn bound_to_us(command: &Command, output: &File) -> Result<Command> {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(key, value),
            None => bound.env_remove(key),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    // Ctrl-C in a terminal is for us alone: we stop the children, in our order.
    bound.process_group(0);
    bound.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    Ok(bound)
}

fn start(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        thread::spawn(move || serve(&queue));
        jobs
    });
    let (answer, child) = channel();
    spawner.send((command, answer)).context("the thread that starts processes is gone")?;
    Ok(child.recv().context("the thread that starts processes is gone")??)
}

fn serve(queue: &Receiver<Job>) {
    for (mut command, answer) in queue {
        answer.send(command.spawn()).ok();
    }
}
