//! A proxy for a connection without TLS, which does something when the client says a word.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What happens after the word.
pub enum Then {
    /// Nothing more.
    PassOn,
    /// The server gets it, and its answer is lost with the connection.
    DropAnswer,
    /// The server gets nothing more, and this is the answer to that and to everything that follows.
    Answer(Vec<u8>),
}

type Action = Arc<dyn Fn() -> BoxFuture<'static, Then> + Send + Sync>;

/// See the [module documentation](self).
pub struct Tap {
    port: u16,
    task: JoinHandle<()>,
}

impl Tap {
    /// In front of `upstream`; `action` is run each time before what holds `word` goes on.
    pub async fn start<F>(
        upstream: &str,
        word: &'static [u8],
        action: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = Then> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let action: Action = Arc::new(move || Box::pin(action()));
        let upstream = upstream.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, action) = (upstream.clone(), Arc::clone(&action));
                tokio::spawn(async move { pass(client, &upstream, word, action).await.ok() });
            }
        });
        Ok(Self { port, task })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, upstream: &str, word: &[u8], action: Action) -> Result<()> {
    let mut server = TcpStream::connect(upstream).await?;
    let mut answer: Option<Vec<u8>> = None;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            length = client.read(&mut asked) => {
                let bytes = &asked[..length?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let then = if let Some(answer) = &answer {
                    Then::Answer(answer.clone())
                } else if bytes.windows(word.len()).any(|part| part == word) {
                    action().await
                } else {
                    Then::PassOn
                };
                if let Then::Answer(bytes) = then {
                    client.write_all(&bytes).await?;
                    answer = Some(bytes);
                    continue;
                }
                server.write_all(bytes).await?;
                if let Then::DropAnswer = then {
                    // Its answer is here, so it is done.
                    ensure!(server.read(&mut answered).await? > 0, "the server is gone");
                    return Ok(());
                }
            }
            length = server.read(&mut answered) => {
                let bytes = &answered[..length?];
                if bytes.is_empty() {
                    return Ok(());
                }
                client.write_all(bytes).await?;
            }
        }
    }
}
