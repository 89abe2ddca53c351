//! Configuration as it is written: a TOML file, overridden by environment and flags. What it means is made of it in
//! [`Config::settings`]; an error names the field and says what it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gateway::settings::{Limits, Settings, Timeouts, Upstream, parse_upstream_url};
use ipnet::IpNet;
use keys::Secret;
use ledger::Patience;
use notify::MailSettings;
use pricing::{Nano, Override};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::key_delivery::DeliveryConfig;
use crate::sources::SourceConfig;

/// Where requests go when only a key is given.
const OPENAI_URL: &str = "https://api.openai.com/v1";

/// Most mail addresses that are told of an exposed key.
const RECIPIENTS_MAX: usize = 50;

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Data folder: database, master key, embedded model. Default `./sallyport-data`.
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on. Default `127.0.0.1:8080`.
    pub(crate) listen: Option<String>,
    /// What diagnostics are written: a level, or `target=level` pairs. Default `info`.
    pub(crate) log: Option<String>,
    /// Whether a line is written to standard output for each request. Default true.
    pub(crate) request_log: Option<bool>,
    /// Worker threads. Default: one per processor.
    pub(crate) workers: Option<usize>,
    /// What keys begin with. Default `sp-`.
    pub(crate) key_prefix: Option<String>,
    /// What keys that are still taken began with before.
    pub(crate) former_key_prefixes: Vec<String>,
    /// Networks whose `X-Forwarded-For` and PROXY header are believed. Default: none.
    pub(crate) trusted_proxies: Vec<String>,
    /// Whether trusted proxies begin each connection with a PROXY protocol header. Default false.
    pub(crate) proxy_protocol: bool,
    /// TLS towards clients.
    pub(crate) tls: Option<TlsConfig>,
    /// The upstream.
    pub(crate) upstream: UpstreamConfig,
    /// The embedded model.
    pub(crate) local_model: LocalModelConfig,
    /// Sizes and counts.
    pub(crate) limits: LimitsConfig,
    /// Times, in seconds.
    pub(crate) timeouts: TimeoutsConfig,
    /// Prices, and patience near limits.
    pub(crate) money: MoneyConfig,
    /// Mail of spend alerts.
    pub(crate) mail: MailConfig,
    /// Reports of leaked keys.
    pub(crate) leaks: LeaksConfig,
    /// Where new secrets of rotated keys may go.
    pub(crate) key_delivery: Vec<DeliveryConfig>,
    /// Master key and upstream keys.
    pub(crate) vault: VaultConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VaultConfig {
    /// Program that prints the master key. Default: `SALLYPORT_MASTER_KEY`, or the file in the data folder.
    pub(crate) master_key_command: Option<Vec<String>>,
    /// Program that prints the new one, for `sallyport vault rewrap`.
    pub(crate) new_master_key_command: Option<Vec<String>>,
    /// Hosts that upstreams made over the API may name. Default: OpenAI's.
    pub(crate) upstream_hosts: Option<Vec<String>>,
    /// Seconds after which programs among the sources are run again. Default 300.
    source_refresh: Option<f64>,
    /// Where upstream keys come from that the API refers to by name.
    pub(crate) sources: BTreeMap<String, SourceConfig>,
}

impl VaultConfig {
    /// How often programs among the sources are run.
    pub(crate) fn source_refresh(&self) -> Result<Duration> {
        let seconds = self.source_refresh.unwrap_or(300.0);
        ensure!((1.0..=86_400.0).contains(&seconds), "vault.source_refresh: must be from 1 to 86400 seconds");
        Ok(Duration::from_secs_f64(seconds))
    }

    /// How long such a program may take.
    pub(crate) fn command_time_max(&self) -> Duration {
        Duration::from_secs(30)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsConfig {
    /// PEM file with the certificate chain.
    certificate: PathBuf,
    /// PEM file with the private key.
    private_key: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpstreamConfig {
    /// Base URL, any `/v1` included.
    pub(crate) url: Option<String>,
    /// File that holds the upstream key. (The key itself comes from `SALLYPORT_UPSTREAM_KEY`.)
    key_file: Option<PathBuf>,
    /// `OpenAI-Organization` towards the upstream.
    organization: Option<String>,
    /// `OpenAI-Project` towards the upstream.
    project: Option<String>,
    /// PEM file with certificate authorities trusted beside the usual ones.
    ca_file: Option<PathBuf>,
    /// The provider's id of the upstream key, for reports of incidents.
    pub(crate) key_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LocalModelConfig {
    /// Whether the embedded model answers. Default: only without an upstream.
    pub(crate) enabled: Option<bool>,
    /// Its GGUF file. Default: in the data folder.
    pub(crate) path: Option<PathBuf>,
    /// Names that it answers to besides its own. Default: the common `gpt-…` names, only without an upstream.
    aliases: Option<Vec<String>>,
    /// Threads that it computes with. Default 2.
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MoneyConfig {
    /// File with the operator's prices; those given by the API go before it.
    pub(crate) prices_file: Option<PathBuf>,
    /// Seconds that a request waits for other holds to settle before it is refused. Default 1.5.
    hold_wait: Option<f64>,
    /// Seconds that a request waits for the database's first word on a limit. Default 2.
    store_wait: Option<f64>,
    /// Largest hold, in dollars, of an abandoned answer that is still read to its end. Default 5.
    read_on_usd_max: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MailConfig {
    /// Mail server: `smtps://user@host` or `smtp://user@host`.
    url: Option<String>,
    /// Sender.
    from: Option<String>,
    /// File that holds the user's password. (The password itself comes from `SALLYPORT_SMTP_PASSWORD`.)
    password_file: Option<PathBuf>,
    /// PEM file with certificate authorities trusted beside the usual ones.
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LeaksConfig {
    /// Mail addresses that are told of an exposed key. Default: none; webhooks are told in any case.
    recipients: Option<Vec<String>>,
    /// GitHub secret scanning.
    pub(crate) github: GithubConfig,
}

/// Where GitHub's public keys are read from; without either its reports are not taken.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GithubConfig {
    /// Address of the key set.
    pub(crate) keys_url: Option<String>,
    /// File with the key set, in the same form.
    pub(crate) keys_file: Option<PathBuf>,
}

macro_rules! overrides {
    ($name:ident, $of:ident, $($(#[$doc:meta])* $field:ident: $kind:ty => $convert:expr),+ $(,)?) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name { $($(#[$doc])* $field: Option<$kind>,)+ }

        impl $name {
            fn over(&self, mut defaults: $of) -> $of {
                $(if let Some(value) = self.$field { defaults.$field = $convert(value); })+
                defaults
            }
        }
    };
}

overrides!(LimitsConfig, Limits,
    connections_max: usize => std::convert::identity,
    header_block_bytes_max: usize => std::convert::identity,
    json_body_bytes_max: u64 => std::convert::identity,
    multipart_body_bytes_max: u64 => std::convert::identity,
    multipart_memory_bytes_max: u64 => std::convert::identity,
    control_body_bytes_max: u64 => std::convert::identity,
    body_memory_bytes_max: u64 => std::convert::identity,
    event_bytes_max: usize => std::convert::identity,
    decoded_answer_bytes_max: u64 => std::convert::identity,
    read_on_max: usize => std::convert::identity,
);

overrides!(TimeoutsConfig, Timeouts,
    header_read: f64 => Duration::from_secs_f64,
    keep_alive: f64 => Duration::from_secs_f64,
    body_idle: f64 => Duration::from_secs_f64,
    body_total: f64 => Duration::from_secs_f64,
    client_stall: f64 => Duration::from_secs_f64,
    upstream_connect: f64 => Duration::from_secs_f64,
    upstream_first_byte: f64 => Duration::from_secs_f64,
    upstream_idle: f64 => Duration::from_secs_f64,
    read_on: f64 => Duration::from_secs_f64,
    upstream_pool_idle: f64 => Duration::from_secs_f64,
    drain: f64 => Duration::from_secs_f64,
);

impl TimeoutsConfig {
    /// A time that is not a time would panic later; it is refused by name now.
    fn check(&self) -> Result<()> {
        let all = [
            ("header_read", self.header_read),
            ("keep_alive", self.keep_alive),
            ("body_idle", self.body_idle),
            ("body_total", self.body_total),
            ("client_stall", self.client_stall),
            ("upstream_connect", self.upstream_connect),
            ("upstream_first_byte", self.upstream_first_byte),
            ("upstream_idle", self.upstream_idle),
            ("read_on", self.read_on),
            ("upstream_pool_idle", self.upstream_pool_idle),
            ("drain", self.drain),
        ];
        for (name, value) in all {
            let fits =
                value.is_none_or(|seconds| (0.0..=86_400.0).contains(&seconds) && (seconds > 0.0 || name == "drain"));
            ensure!(fits, "timeouts.{name}: must be more than 0 and at most 86400 seconds");
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        // The parser's errors show line, column and field.
        toml::from_str(&text).with_context(|| format!("the configuration {} cannot be used", path.display()))
    }

    /// The data folder.
    pub(crate) fn data_folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| "sallyport-data".into())
    }

    /// The address to listen on.
    pub(crate) fn listen_address(&self) -> Result<SocketAddr> {
        let text = self.listen.as_deref().unwrap_or("127.0.0.1:8080");
        text.parse().with_context(|| format!("listen: `{text}` is not an address and port such as 127.0.0.1:8080"))
    }

    /// The keys' shape.
    pub(crate) fn shape(&self) -> Result<keys::Shape> {
        let prefix = self.key_prefix.as_deref().unwrap_or("sp-");
        let shape = keys::Shape::new(prefix)
            .with_context(|| format!("key_prefix: `{prefix}` must be 1 to 16 letters, digits, `-` or `_`"))?;
        let former: Vec<&str> = self.former_key_prefixes.iter().map(String::as_str).collect();
        shape.accepting(&former).context("former_key_prefixes: at most 8, each 1 to 16 letters, digits, `-` or `_`")
    }

    /// Whether requests can go to an upstream.
    pub(crate) fn has_upstream(&self, key: Option<&Secret>) -> bool {
        key.is_some() || self.upstream.url.is_some() || self.upstream.key_file.is_some()
    }

    /// What all of it means. `key` is `SALLYPORT_UPSTREAM_KEY`.
    pub(crate) fn settings(&self, key: Option<Secret>) -> Result<Settings> {
        self.timeouts.check()?;
        let has_upstream = self.has_upstream(key.as_ref());
        let mut limits = self.limits.over(Limits::default());
        if let Some(usd) = &self.money.read_on_usd_max {
            limits.read_on_amount_max =
                Nano::from_usd(usd).with_context(|| format!("money.read_on_usd_max: `{usd}`"))?;
        }
        ensure!(limits.header_block_bytes_max >= 8192, "limits.header_block_bytes_max: must be at least 8192");
        ensure!(limits.connections_max > 0, "limits.connections_max: must be at least 1");
        let workers = self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        ensure!((1..=1024).contains(&workers), "workers: must be from 1 to 1024");
        Ok(Settings {
            workers,
            tls: self.tls.as_ref().map(TlsConfig::load).transpose()?,
            proxy_protocol: self.proxy_protocol,
            trusted_proxies: self.trusted_proxies.iter().map(|net| network(net)).collect::<Result<_>>()?,
            limits,
            timeouts: self.timeouts.over(Timeouts::default()),
            upstream: has_upstream.then(|| self.upstream.load(key)).transpose()?,
            local_model: localmodel::MODEL_ID,
            local_aliases: self.aliases(has_upstream),
        })
    }

    fn aliases(&self, has_upstream: bool) -> BTreeSet<String> {
        match &self.local_model.aliases {
            Some(names) => names.iter().cloned().collect(),
            None if has_upstream => BTreeSet::new(),
            None => localmodel::SHIPPED_ALIASES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl MoneyConfig {
    /// How patient the ledger is.
    pub(crate) fn patience(&self) -> Result<Patience> {
        let seconds = |name: &str, value: Option<f64>, default: Duration| {
            let Some(value) = value else { return Ok(default) };
            ensure!((0.0..=60.0).contains(&value), "money.{name}: must be from 0 to 60 seconds");
            Ok(Duration::from_secs_f64(value))
        };
        let default = Patience::default();
        Ok(Patience {
            holds: seconds("hold_wait", self.hold_wait, default.holds)?,
            store: seconds("store_wait", self.store_wait, default.store)?,
        })
    }

    /// The operator's prices.
    pub(crate) fn prices(&self) -> Result<Vec<Override>> {
        let Some(path) = &self.prices_file else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("money.prices_file: {}", path.display()))?;
        Override::from_toml(&text).with_context(|| format!("money.prices_file: {}", path.display()))
    }
}

impl MailConfig {
    /// The mail server, where one is named. `password` is `SALLYPORT_SMTP_PASSWORD`.
    pub(crate) fn settings(&self, password: Option<Secret>) -> Result<Option<MailSettings>> {
        let Some(url) = &self.url else { return Ok(None) };
        let password = match (password, &self.password_file) {
            (Some(_), Some(_)) => bail!("mail.password_file: SALLYPORT_SMTP_PASSWORD is set as well; give one of them"),
            (Some(password), None) => Some(password),
            (None, Some(path)) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("mail.password_file: {}", path.display()))?;
                Some(Secret::new(text.trim()))
            }
            (None, None) => None,
        };
        let from = self.from.clone().context("mail.from: name the address that mail comes from")?;
        let authorities = match &self.ca_file {
            Some(path) => certificates(path, "mail.ca_file")?,
            None => Vec::new(),
        };
        Ok(Some(MailSettings { url: url.clone(), password, from, authorities }))
    }
}

impl LeaksConfig {
    /// Who is told of an exposed key by mail.
    pub(crate) fn recipients(&self) -> Result<Vec<String>> {
        let recipients = self.recipients.clone().unwrap_or_default();
        for address in &recipients {
            ensure!(console::is_address(address), "leaks.recipients: `{address}` is not a mail address");
        }
        ensure!(recipients.len() <= RECIPIENTS_MAX, "leaks.recipients: more than {RECIPIENTS_MAX}");
        Ok(recipients)
    }
}

fn network(text: &str) -> Result<IpNet> {
    let single = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(single)
        .with_context(|| format!("trusted_proxies: `{text}` is not a network such as 10.0.0.0/8"))
}

impl TlsConfig {
    fn load(&self) -> Result<Arc<rustls::ServerConfig>> {
        let chain = certificates(&self.certificate, "tls.certificate")?;
        let key = PrivateKeyDer::from_pem_file(&self.private_key)
            .map_err(|error| anyhow::anyhow!("tls.private_key: {}: {error}", self.private_key.display()))?;
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("tls: certificate and private key do not fit together")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path, field: &str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| anyhow::anyhow!("{field}: {}: {error}", path.display()))?;
    ensure!(!chain.is_empty(), "{field}: {} holds no certificate", path.display());
    Ok(chain)
}

impl UpstreamConfig {
    fn load(&self, key: Option<Secret>) -> Result<Upstream> {
        let url = self.url.as_deref().unwrap_or(OPENAI_URL);
        let (scheme, authority, base_path) =
            parse_upstream_url(url).with_context(|| format!("upstream.url: `{url}`"))?;
        let key = match (key, &self.key_file) {
            (Some(_), Some(_)) => bail!("upstream.key_file: SALLYPORT_UPSTREAM_KEY is set as well; give one of them"),
            (Some(key), None) => Some(key),
            (None, Some(path)) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("upstream.key_file: {}", path.display()))?;
                Some(Secret::new(text.trim()))
            }
            (None, None) => None,
        };
        if let Some(key) = &key {
            let is_header = !key.expose().is_empty() && key.expose().bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(
                is_header,
                "the upstream key is empty or has characters that no key has: check SALLYPORT_UPSTREAM_KEY"
            );
        }
        Ok(Upstream {
            scheme,
            authority,
            base_path,
            key,
            organization: self.organization.clone(),
            project: self.project.clone(),
            tls: self.client_tls()?,
        })
    }

    /// TLS towards outside, the upstream and webhooks.
    pub(crate) fn client_tls(&self) -> Result<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = &self.ca_file {
            for certificate in certificates(path, "upstream.ca_file")? {
                roots.add(certificate).context("upstream.ca_file: a certificate cannot be used")?;
            }
        }
        Ok(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sallyport.toml");
        std::fs::write(&path, text).expect("written");
        Config::read(&path)
    }

    #[test]
    fn errors_name_the_field() {
        for (text, word) in [
            ("lisen = \"x\"", "lisen"),
            ("listen = 5", "listen"),
            ("[limits]\njson_body_bytes_max = \"big\"", "json_body_bytes_max"),
            ("[upstream]\nkey = \"sk-1\"", "key"),
        ] {
            let error = format!("{:#}", config(text).expect_err(text));
            assert!(error.contains(word), "{text}: {error}");
        }
        for (text, word) in [
            ("listen = \"nowhere\"", "listen"),
            ("workers = 0", "workers"),
            ("key_prefix = \"a b\"", "key_prefix"),
            ("trusted_proxies = [\"everyone\"]", "trusted_proxies"),
            ("[timeouts]\nbody_idle = -1.0", "timeouts.body_idle"),
            ("[upstream]\nurl = \"ftp://x\"", "upstream.url"),
            ("[upstream]\nkey_file = \"/nonexistent\"", "upstream.key_file"),
            ("[leaks]\nrecipients = [\"nobody\"]", "leaks.recipients"),
            ("[tls]\ncertificate = \"/nonexistent\"\nprivate_key = \"/nonexistent\"", "tls.certificate"),
        ] {
            let config = config(text).expect(text);
            let all = config
                .listen_address()
                .map(|_| ())
                .and(config.shape().map(|_| ()))
                .and(config.leaks.recipients().map(|_| ()))
                .and(config.settings(None).map(|_| ()));
            let error = format!("{:#}", all.expect_err(text));
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    /// The example shows every setting with its default; it must load as it is and with all of them uncommented.
    #[test]
    fn the_example_loads_and_shows_every_setting() {
        let example = include_str!("../../../examples/sallyport.toml");
        config(example).expect("as it is");
        let is_setting =
            |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.starts_with('[') || rest.contains(" = "));
        let uncomment = |line: &str| if is_setting(line) { line[2..].to_owned() } else { line.to_owned() };
        let all = config(&example.lines().map(uncomment).collect::<Vec<_>>().join("\n")).expect("uncommented");
        let limits = all.limits.over(Limits { connections_max: 0, event_bytes_max: 0, ..Limits::default() });
        assert_eq!(format!("{limits:?}"), format!("{:?}", Limits::default()));
        assert_eq!(format!("{:?}", all.timeouts.over(Timeouts::default())), format!("{:?}", Timeouts::default()));
        // Of a delivery's three kinds each has one.
        assert_eq!(all.key_delivery.len(), 3);
        let all = Config { key_delivery: Vec::new(), ..all };
        let shown = format!("{all:?}");
        assert!(!shown.contains(": None"), "a setting is missing in the example: {shown}");
    }

    #[test]
    fn an_empty_file_runs_the_demo_and_a_key_turns_to_the_upstream() {
        let config = config("").expect("valid");
        let demo = config.settings(None).expect("settings");
        assert!(demo.upstream.is_none() && demo.local_aliases.contains("gpt-4o-mini"));
        let real = config.settings(Some(Secret::new("sk-test"))).expect("settings");
        let upstream = real.upstream.expect("an upstream");
        assert_eq!((upstream.authority.as_str(), upstream.base_path.as_str()), ("api.openai.com", "/v1"));
        assert!(real.local_aliases.is_empty());
    }

    #[test]
    fn an_upstream_key_never_shows() {
        let settings = config("").expect("valid").settings(Some(Secret::new("sk-test-secret"))).expect("settings");
        assert!(!format!("{settings:?}").contains("test-secret"));
    }
}
