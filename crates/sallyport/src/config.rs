//! Configuration as it is written: a TOML file, overridden by environment and flags. What it means is in
//! [`meaning`].

mod meaning;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use gateway::settings::{Limits, Timeouts};
use serde::Deserialize;

use crate::key_delivery::DeliveryConfig;
use crate::sources::SourceConfig;

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
    /// How much the guards may do at once.
    pub(crate) guards: GuardsConfig,
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
pub(crate) struct GuardsConfig {
    /// Threads that the transformer runs on. Default: one for each two processors.
    threads: Option<usize>,
    /// Texts, or several short ones together, that wait for it. Default 1024.
    queue_max: Option<usize>,
    /// Their bytes. Default 64 MiB.
    queue_bytes_max: Option<usize>,
    /// Windows of 128 tokens that are read of one request, shorter ones charged by length. Default 64.
    windows_max: Option<usize>,
    /// Judgements of texts that are remembered. Default 65536.
    remembered_max: Option<usize>,
    /// Seconds that reading one request may take, and that a long one waits before to be looked at. Default 10.
    read_time_max: Option<f64>,
    /// Seconds that an answer waits for the verdict where nothing may be refused. Default 0.05.
    answer_wait_max: Option<f64>,
    /// File with the detector's rules. Default: those that are part of the program.
    pub(crate) rules_file: Option<PathBuf>,
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

#[cfg(test)]
mod tests;
