//! The command line's way to a running gate: `SALLYPORT_URL` and `SALLYPORT_ADMIN_KEY`.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keys::Secret;
use pricing::Nano;
use serde_json::Value;

use crate::days;
use crate::output::say;
use crate::serve::secret;

/// Which gate to speak to, and how to print.
#[derive(Debug, Args)]
pub(crate) struct Gate {
    /// Address of the running gate.
    #[arg(long, env = "SALLYPORT_URL", default_value = "http://127.0.0.1:8080", value_name = "URL", global = true)]
    url: String,
    /// Print the API's JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

impl Gate {
    fn key() -> Result<Secret> {
        secret("SALLYPORT_ADMIN_KEY")
            .context("SALLYPORT_ADMIN_KEY is not set: export the admin key that the gate's first start printed")
    }

    /// Whether JSON was asked for.
    pub(crate) fn wants_json(&self) -> bool {
        self.json
    }

    /// Calls an operation below `/v1/organization`, or one of ours by its whole path.
    pub(crate) fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let key = Self::key()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.send(method, path, body, &key))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>, key: &Secret) -> Result<Value> {
        let under = if path.starts_with("/v1/") { "" } else { "/v1/organization" };
        let url = format!("{}{under}{path}", self.url.trim_end_matches('/').trim_end_matches("/v1"));
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header(header::AUTHORIZATION, format!("Bearer {}", key.expose()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(text))
            .with_context(|| format!("SALLYPORT_URL: `{}` is not a URL", self.url))?;
        let response = client()
            .request(request)
            .await
            .with_context(|| format!("no gate answers at {}: is it running?", self.url))?;
        let status = response.status();
        let bytes = response.into_body().collect().await.context("the gate's answer broke off")?.to_bytes();
        let json: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("the gate answered {status} without JSON"))?;
        if status.is_success() {
            return Ok(json);
        }
        bail!("{}", json["error"]["message"].as_str().unwrap_or("the gate refused without words"))
    }

    /// Follows a list to its end.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let mut page = self.call(Method::GET, &format!("{path}{separator}limit=100{after}"), None)?;
            if let Value::Array(data) = page["data"].take() {
                items.extend(data);
            }
            match (page["has_more"].as_bool(), page["last_id"].as_str()) {
                (Some(true), Some(last)) => after = format!("&after={}", encoded(last)),
                _ => return Ok(items),
            }
        }
    }

    /// Follows pages that name the next one by a token.
    pub(crate) fn pages(&self, path: &str) -> Result<Vec<Value>> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let mut page = self.call(Method::GET, &format!("{path}{separator}{next}"), None)?;
            if let Value::Array(data) = page["data"].take() {
                items.extend(data);
            }
            match page["next_page"].as_str() {
                Some(token) => next = format!("page={token}"),
                None => return Ok(items),
            }
        }
    }

    /// Prints objects as a table, or as JSON when that was asked for.
    pub(crate) fn print(&self, items: &[Value], columns: &[(&str, &str)]) {
        if self.json {
            say!("{:#}", Value::from(items.to_vec()));
            return;
        }
        let rows: Vec<Vec<String>> =
            items.iter().map(|item| columns.iter().map(|(_, at)| shown(item, at)).collect()).collect();
        print_table(&columns.iter().map(|(title, _)| *title).collect::<Vec<_>>(), &rows);
    }

    /// Prints a new key's secret, the only time that it is shown.
    pub(crate) fn tell_key(&self, made: &Value) {
        let (id, value) = (made["id"].as_str().unwrap_or_default(), made["value"].as_str().unwrap_or_default());
        self.tell(made, &format!("{value}\nThis secret is not shown again. The key's id is {id}."));
    }

    /// Prints one object as it is.
    pub(crate) fn show(&self, object: &Value) {
        say!("{object:#}");
    }

    /// Prints one object, or words about it.
    pub(crate) fn tell(&self, object: &Value, words: &str) {
        if self.json { say!("{object:#}") } else { say!("{words}") }
    }
}

/// What the command line speaks to a gate with.
pub(crate) type Client = legacy::Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts the authorities of the public web.
pub(crate) fn client() -> Client {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// Prints rows under titles. Amounts stand under each other by their points.
pub(crate) fn print_table(titles: &[&str], rows: &[Vec<String>]) {
    let is_amount = |cell: &str| cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !cell.is_empty();
    // How many characters a column has before and behind the point.
    let columns: Vec<(usize, usize, bool)> = (0..titles.len())
        .map(|at| {
            let cells = || rows.iter().map(|row| row[at].as_str()).filter(|cell| *cell != "-");
            let is_right = cells().next().is_some() && cells().all(is_amount);
            let behind = |cell: &str| cell.find('.').map_or(0, |point| cell.len() - point);
            let behind_max = if is_right { cells().map(behind).max().unwrap_or(0) } else { 0 };
            let width = |cell: &str| cell.chars().count() + if is_right { behind_max - behind(cell) } else { 0 };
            (cells().map(width).max().unwrap_or(0).max(titles[at].len()), behind_max, is_right)
        })
        .collect();
    let print = |cells: &[String], is_title: bool| {
        let aligned = cells.iter().zip(&columns).map(|(cell, (width, behind_max, is_right))| {
            if !is_right {
                return format!("{cell:<width$}");
            }
            let behind =
                if is_title || cell == "-" { *behind_max } else { cell.find('.').map_or(0, |at| cell.len() - at) };
            format!("{:>width$}", format!("{cell}{}", " ".repeat(behind_max - behind)))
        });
        say!("{}", aligned.collect::<Vec<_>>().join("  ").trim_end());
    };
    print(&titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>(), true);
    rows.iter().for_each(|row| print(row, false));
}

/// Text as one segment of a path, or one value of a query.
pub(crate) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'*' | b'@' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Dollars that somebody typed, as the API's whole cents.
pub(crate) fn cents(dollars: &str) -> Result<u64> {
    let amount = Nano::from_usd(dollars).with_context(|| format!("`{dollars}`"))?;
    anyhow::ensure!(amount.0 % Nano::PER_CENT == 0, "`{dollars}`: name whole cents");
    Ok(amount.0 / Nano::PER_CENT)
}

/// A value at a JSON pointer as a cell.
fn shown(item: &Value, pointer: &str) -> String {
    match item.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        // People read times; JSON has the seconds.
        Some(Value::Number(at)) if pointer.ends_with("_at") => at.as_i64().map_or_else(|| at.to_string(), days::minute),
        Some(Value::Array(items)) => items.iter().map(|item| shown(item, "")).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
    }
}
