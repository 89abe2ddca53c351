//! A scripted mail server: says yes to everything but to what its script names.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the server does at a command that begins so; `GREETING` and `MESSAGE` stand for moments without one.
pub(super) type Rule = (&'static str, Reply);

/// What a server does instead of saying yes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// Answers this line.
    Line(&'static str),
    /// Answers this line the first time only.
    Once(&'static str),
    /// Ends the connection.
    HangUp,
    /// Says nothing. Time runs freely from then on.
    Stall,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    commands: Vec<String>,
    letters: Vec<String>,
}

/// The server; it lives as long as the test's runtime.
pub(super) struct MailServer {
    address: String,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

/// When TLS begins.
#[derive(Clone)]
pub(super) enum Tls {
    Never,
    AtOnce(TlsAcceptor),
    AtCommand(TlsAcceptor),
}

impl MailServer {
    pub(super) async fn start(rules: &[Rule]) -> MailServer {
        MailServer::start_with(rules, Tls::Never).await
    }

    pub(super) async fn start_with(rules: &[Rule], tls: Tls) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State { rules: rules.to_vec(), ..State::default() }));
        let shared = Arc::clone(&state);
        let scheme = if matches!(tls, Tls::AtOnce(_)) { "smtps" } else { "smtp" };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(connection(stream, Arc::clone(&shared), tls.clone()));
            }
        });
        MailServer { address, scheme, state }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The same with a user.
    pub(super) fn url_of(&self, user: &str) -> String {
        format!("{}://{user}@{}", self.scheme, self.address)
    }

    pub(super) fn letters(&self) -> Vec<String> {
        self.state.lock().expect("unpoisoned").letters.clone()
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.state.lock().expect("unpoisoned").commands.clone()
    }
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>, tls: Tls) {
    match tls {
        Tls::Never => drop(session(stream, &state, true, false).await),
        Tls::AtOnce(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                session(stream, &state, true, false).await;
            }
        }
        Tls::AtCommand(acceptor) => {
            if let Some(stream) = session(stream, &state, true, true).await
                && let Ok(stream) = acceptor.accept(stream).await
            {
                session(stream, &state, false, false).await;
            }
        }
    }
}

/// Until the client goes, or, giving the stream back, until it wants TLS.
async fn session<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    state: &Mutex<State>,
    greets: bool,
    offers_tls: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if greets {
        answer(&mut stream, state, "GREETING", "220 ready").await?;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        state.lock().expect("unpoisoned").commands.push(line.to_owned());
        let verb = line.split(' ').next().unwrap_or_default();
        match verb {
            "EHLO" if offers_tls => answer(&mut stream, state, line, "250-here\r\n250 STARTTLS").await?,
            "EHLO" => answer(&mut stream, state, line, "250-here\r\n250 AUTH PLAIN LOGIN").await?,
            "AUTH" => answer(&mut stream, state, line, "235 welcome").await?,
            "STARTTLS" => {
                answer(&mut stream, state, line, "220 go on").await?;
                return Some(stream.into_inner());
            }
            "DATA" => {
                answer(&mut stream, state, line, "354 go on").await?;
                let letter = letter(&mut stream).await?;
                answer(&mut stream, state, "MESSAGE", "250 taken").await?;
                state.lock().expect("unpoisoned").letters.push(letter);
            }
            _ => answer(&mut stream, state, line, "250 yes").await?,
        }
    }
}

/// The usual answer, or what the script says; `None` ends the session. After a refusal the client decides.
async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    state: &Mutex<State>,
    at: &str,
    usual: &'static str,
) -> Option<()> {
    let reply = {
        let mut state = state.lock().expect("unpoisoned");
        let found = state.rules.iter().position(|(begin, _)| at.starts_with(begin));
        found.map(|index| match state.rules[index].1 {
            Reply::Once(_) => state.rules.remove(index).1,
            reply => reply,
        })
    };
    let (line, goes_on) = match reply {
        None => (usual, true),
        // A refused DATA is followed by a command, not by a letter: such sessions end here.
        Some(Reply::Line(line) | Reply::Once(line)) => (line, at != "DATA" && at != "MESSAGE"),
        Some(Reply::HangUp) => return None,
        Some(Reply::Stall) => {
            tokio::time::pause();
            std::future::pending().await
        }
    };
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    goes_on.then_some(())
}

async fn letter(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut letter = String::new();
    while !letter.ends_with("\r\n.\r\n") {
        if stream.read_line(&mut letter).await.ok()? == 0 {
            return None;
        }
    }
    Some(letter)
}
