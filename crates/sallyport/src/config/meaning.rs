//! What the configuration means: settings of the gate, checked; an error names the field and says what it takes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gateway::settings::{GuardLimits, Limits, Settings, Timeouts, Upstream, parse_upstream_url};
use ipnet::IpNet;
use keys::Secret;
use ledger::Patience;
use notify::MailSettings;
use pricing::{Nano, Override};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Config, GuardsConfig, LeaksConfig, MailConfig, MoneyConfig, TlsConfig, UpstreamConfig};

/// Where requests go when only a key is given.
const OPENAI_URL: &str = "https://api.openai.com/v1";

/// Most mail addresses that are told of an exposed key.
const RECIPIENTS_MAX: usize = 50;

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
            guards: self.guards.limits()?,
            upstream: has_upstream.then(|| self.upstream.load(key)).transpose()?,
            local_model: localmodel::MODEL_ID,
            local_aliases: self.aliases(has_upstream),
        })
    }

    pub(super) fn aliases(&self, has_upstream: bool) -> BTreeSet<String> {
        match &self.local_model.aliases {
            Some(names) => names.iter().cloned().collect(),
            None if has_upstream => BTreeSet::new(),
            None => localmodel::SHIPPED_ALIASES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl GuardsConfig {
    /// How much the guards may do at once.
    fn limits(&self) -> Result<GuardLimits> {
        let default = GuardLimits::default();
        let seconds = self.read_time_max.unwrap_or(default.read_time_max.as_secs_f64());
        let wait = self.answer_wait_max.unwrap_or(default.answer_wait_max.as_secs_f64());
        let limits = GuardLimits {
            threads: self.threads.unwrap_or(default.threads),
            queue_max: self.queue_max.unwrap_or(default.queue_max),
            queue_bytes_max: self.queue_bytes_max.unwrap_or(default.queue_bytes_max),
            windows_max: self.windows_max.unwrap_or(default.windows_max),
            remembered_max: self.remembered_max.unwrap_or(default.remembered_max),
            read_time_max: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            answer_wait_max: Duration::try_from_secs_f64(wait).unwrap_or_default(),
        };
        ensure!((1..=1024).contains(&limits.threads), "guards.threads: must be from 1 to 1024");
        ensure!((1..=100_000).contains(&limits.windows_max), "guards.windows_max: must be from 1 to 100000");
        // A request may have a task for each window, and one more for what is left; of a project half as many may wait.
        let queue_min = 2 * (limits.windows_max + 1);
        ensure!(
            (queue_min..=1_000_000).contains(&limits.queue_max),
            "guards.queue_max: must be from {queue_min} (twice guards.windows_max, and two) to 1000000"
        );
        ensure!(limits.remembered_max <= 1 << 27, "guards.remembered_max: must be at most 134217728");
        ensure!(seconds > 0.0 && seconds <= 600.0, "guards.read_time_max: must be more than 0 and at most 600 seconds");
        ensure!((0.0..=600.0).contains(&wait), "guards.answer_wait_max: must be from 0 to 600 seconds");
        Ok(limits)
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
    pub(super) fn load(&self) -> Result<Arc<rustls::ServerConfig>> {
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
    pub(super) fn load(&self, key: Option<Secret>) -> Result<Upstream> {
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
