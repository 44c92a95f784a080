//! Go's own templates, to compare ours with: the program in `tests/e2e/oracle`, built once into the cache.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{cache, checkout};

const SOURCE: &str = "tests/e2e/oracle";

/// What Go made of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The bytes, or why there are none.
    pub result: Result<Vec<u8>, Refused>,
    /// Marks of what else happened; `functions.go` lists them.
    pub marks: Vec<String>,
}

/// Why Go has rendered nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The template has no meaning.
    Parse(String),
    /// A step of it failed.
    Exec(String),
    /// The program ended: the template ran for too long, or took the whole stack.
    Ended,
}

/// The program that answers.
#[derive(Clone, Debug)]
pub struct Oracle {
    program: PathBuf,
}

#[derive(Serialize)]
struct Request<'a> {
    template: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reply {
    ok: String,
    refused: String,
    text: String,
    marks: Vec<String>,
}

impl Oracle {
    /// Builds the program unless it is there.
    ///
    /// # Errors
    /// When Go is missing, or the build fails.
    pub fn build() -> Result<Self> {
        let source = checkout::repository().join(SOURCE);
        let directory = cache::directory()?.join(format!("oracle-{}", fingerprint(&source)?));
        let program = directory.join("oracle");
        let _lock = cache::lock("oracle")?;
        if !program.exists() {
            fs::create_dir_all(&directory)?;
            let unfinished = directory.join("unfinished");
            let status = Command::new("go")
                .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o"])
                .arg(&unfinished)
                .arg(".")
                .current_dir(&source)
                .env("CGO_ENABLED", "0")
                // Otherwise a newer go.mod would make Go fetch another toolchain.
                .env("GOTOOLCHAIN", "local")
                .stdin(Stdio::null())
                .status()
                .context("run go build")?;
            ensure!(status.success(), "go build in {} ended with {status}", source.display());
            fs::rename(&unfinished, &program)?;
        }
        Ok(Self { program })
    }

    /// Its functions beside those of Go.
    ///
    /// # Errors
    /// When the program cannot run.
    pub fn names(&self) -> Result<Vec<String>> {
        let output = Command::new(&self.program).arg("names").output().context("run the oracle")?;
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    }

    /// Renders each template with `data`.
    ///
    /// # Errors
    /// When the program cannot run, or its answer makes no sense.
    pub fn render(&self, templates: &[String], data: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Answer>> {
        let data = data.iter().map(|(name, value)| (name.clone(), STANDARD.encode(value))).collect();
        let mut answers = Vec::with_capacity(templates.len());
        while answers.len() < templates.len() {
            let lines = lines(&templates[answers.len()..], &data)?;
            self.ask(lines, &mut answers)?;
            if answers.len() < templates.len() {
                // The one that it worked on when it ended.
                answers.push(Answer { result: Err(Refused::Ended), marks: Vec::new() });
            }
        }
        Ok(answers)
    }

    /// Whether bcrypt makes `hash` of `password`.
    ///
    /// # Errors
    /// When the program cannot run.
    pub fn verifies(&self, hash: &str, password: &[u8]) -> Result<bool> {
        let request = serde_json::json!({"verify": {"hash": hash, "password": STANDARD.encode(password)}});
        let mut answers = Vec::new();
        self.ask(vec![format!("{request}\n")], &mut answers)?;
        let answer = answers.pop().context("no answer to whether a hash verifies")?;
        Ok(answer.result.is_ok())
    }

    /// Adds the answers to `requests` in turn, until the program ends.
    fn ask(&self, requests: Vec<String>, answers: &mut Vec<Answer>) -> Result<()> {
        let mut child = self.start()?;
        let (input, output) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        let writer = thread::spawn(move || {
            let mut input = BufWriter::new(input);
            // It may end before it has read all.
            requests.iter().try_for_each(|request| input.write_all(request.as_bytes())).ok();
        });
        for line in BufReader::new(output).lines() {
            answers.push(serde_json::from_str::<Reply>(&line?).context("an answer of the oracle")?.try_into()?);
        }
        child.wait()?;
        writer.join().ok();
        Ok(())
    }

    fn start(&self) -> Result<Child> {
        let mut command = Command::new(&self.program);
        // Its output about a template that ended it does not help a reader of the test.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().context("start the oracle")
    }
}

fn lines(templates: &[String], data: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let line = |(position, template): (usize, &String)| {
        let request = Request { template, data: (position == 0).then_some(data) };
        Ok(format!("{}\n", serde_json::to_string(&request)?))
    };
    templates.iter().enumerate().map(line).collect()
}

impl TryFrom<Reply> for Answer {
    type Error = anyhow::Error;

    fn try_from(reply: Reply) -> Result<Self> {
        let result = match reply.refused.as_str() {
            "" => Ok(STANDARD.decode(reply.ok).context("the bytes of an answer")?),
            "parse" => Err(Refused::Parse(reply.text)),
            "exec" => Err(Refused::Exec(reply.text)),
            other => bail!("the oracle has refused a template by {other:?}"),
        };
        Ok(Self { result, marks: reply.marks })
    }
}

/// A hash of all inputs of the program.
fn fingerprint(source: &Path) -> Result<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(source)
        .with_context(|| format!("read {}", source.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(fs::read(path)?);
    }
    let go = Command::new("go").args(["env", "GOVERSION"]).output().context("ask go for its version")?;
    hash.update(go.stdout);
    let mut fingerprint = String::new();
    for byte in hash.finalize().iter().take(8) {
        write!(fingerprint, "{byte:02x}")?;
    }
    Ok(fingerprint)
}
