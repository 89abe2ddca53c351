//! `sallyport serve`: wires everything together and runs it until it is told to stop.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use backends::sqlite::Sqlite;
use clap::Args;
use console::{Console, Keeping, ProviderReports, Started, UpstreamsInForce};
use gateway::settings::{Settings, Upstream};
use gateway::upstreams::Upstreams;
use gateway::{Alarms, ControlAnswer, ControlCall, ControlPlane, Gate, Local, Parts, RequestLog, SignedDelivery};
use injection::Detector;
use keys::{DataKey, Random, Secret, SystemRandom};
use ledger::Ledger;
use socket2::{Domain, Socket, Type};
use store::{Clock, Directory, Registry, SystemClock};
use tokio::sync::watch;

use crate::config::Config;
use crate::evaluation::EvaluationFile;
use crate::harden::harden;
use crate::key_delivery::KeyDeliveries;
use crate::key_watch::KeyWatch;
use crate::keyring::{Hosts, Keyring};
use crate::leaks::GithubKeys;
use crate::provider::Provider;
use crate::rules_file::RulesFile;
use crate::sources::{LOOK_INTERVAL, Sources};
use crate::vault::MasterSource;
use crate::{leaks, model, money, vault};

/// Connections that may wait to be accepted: a burst of clients after a restart.
const BACKLOG: i32 = 4096;

const SECRETS_HELP: &str = "\
Secrets come from the environment, because flags show in process lists:
  SALLYPORT_UPSTREAM_KEY  the key sent to the upstream; without it and without --upstream-url the
                          embedded demo model answers
  SALLYPORT_UPSTREAM_ADMIN_KEY
                          an admin key of the upstream: reports of exposed keys then have its own usage
  SALLYPORT_MASTER_KEY    seals what the database must keep secret, 32 bytes in base64 or hexadecimal
                          [default: the file master.key in the data folder, made at the first start]
  SALLYPORT_SMTP_PASSWORD the mail server's password, for spend alerts";

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = SECRETS_HELP)]
pub(crate) struct Serve {
    /// Configuration file (TOML).
    #[arg(long, env = "SALLYPORT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder: database, master key, embedded model [default: ./sallyport-data].
    #[arg(long, env = "SALLYPORT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8080].
    #[arg(long, env = "SALLYPORT_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Base URL of the upstream, any /v1 included [default: https://api.openai.com/v1 when a key is set].
    #[arg(long, env = "SALLYPORT_UPSTREAM_URL", value_name = "URL")]
    upstream_url: Option<String>,
    /// When the database is made: write {"url","admin_key","project_id","project_key"} to this file (mode 0600).
    #[arg(long, value_name = "FILE")]
    bootstrap_json: Option<PathBuf>,
    /// The upstream key. An environment variable only: flags show in process lists.
    #[arg(skip = secret("SALLYPORT_UPSTREAM_KEY"))]
    upstream_key: Option<Secret>,
    /// An admin key of the upstream, for its own usage in reports of incidents.
    #[arg(skip = secret("SALLYPORT_UPSTREAM_ADMIN_KEY"))]
    upstream_admin_key: Option<Secret>,
    /// The master key, 32 bytes in base64 or hexadecimal; its default is a file in the data folder.
    #[arg(skip = secret("SALLYPORT_MASTER_KEY"))]
    master_key: Option<Secret>,
    /// The mail server's password.
    #[arg(skip = secret("SALLYPORT_SMTP_PASSWORD"))]
    smtp_password: Option<Secret>,
    /// Diagnostics: a level, or target=level pairs [default: info].
    #[arg(long, env = "SALLYPORT_LOG", value_name = "FILTER")]
    log: Option<String>,
}

/// A secret from the environment; an empty one counts as none.
pub(crate) fn secret(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty()).map(|value| Secret::new(value.trim()))
}

impl Serve {
    pub(crate) fn run(self) -> Result<()> {
        harden()?;
        let database = std::env::var("SALLYPORT_DATABASE_URL").unwrap_or_default();
        ensure!(database.is_empty(), "SALLYPORT_DATABASE_URL: this version keeps its data in SQLite only; unset it");
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.data = self.data.clone().or(config.data);
        config.listen = self.listen.clone().or(config.listen);
        config.log = self.log.clone().or(config.log);
        config.upstream.url = self.upstream_url.clone().filter(|url| !url.is_empty()).or(config.upstream.url);
        log_to_stderr(config.log.as_deref().unwrap_or("info"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(self.serve(config))
    }

    async fn serve(self, config: Config) -> Result<()> {
        let (data, shape) = (config.data_folder(), config.shape()?);
        let settings = config.settings(self.upstream_key.clone())?;
        let deliveries = Arc::new(KeyDeliveries::new(&config.key_delivery)?);
        let rules = config.guards.rules_file.clone().map(RulesFile::new);
        let detector = rules.as_ref().map_or_else(|| Ok(Detector::embedded().clone()), RulesFile::detector)?;
        let address = config.listen_address()?;
        // The address is taken before anything is written: two gates by mistake do no harm. It is listened on last, so
        // that whoever can connect finds everything in place, the bootstrap file too.
        let socket = bind(address).with_context(|| format!("listen: cannot listen on {address}"))?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        let url = url(address, settings.tls.is_some());

        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(Sqlite::open(&data).await?);
        let master = MasterSource::find(&config.vault, &data, self.master_key.clone())?;
        let master = Arc::new(master.open(&*store, &*random).await?);
        let pepper = vault::pepper(&*store, &master, &*random).await?;
        let (records, started) = match store.load().await? {
            Some(records) => (records, None),
            None => {
                let (records, started) = Console::start(&*store, &pepper, &shape, &*clock, &*random).await?;
                (records, Some(started))
            }
        };
        if let (Some(path), Some(started)) = (&self.bootstrap_json, &started) {
            write_bootstrap(path, &url, started)?;
        }
        let data_key = vault::data_key(&*store, &records.organization.id, &master, &*random).await?;
        let prices = money::prices(&config, &records, clock.unix_seconds())?;
        let ledger = Ledger::new(records.limits.clone(), clock.clone(), config.money.patience()?);
        let directory = Arc::new(Directory::new(records));
        let keyring = keyring(&config, &settings, &directory, data_key).await?;
        let (password, outside) = (self.smtp_password.clone(), (clock.clone(), random.clone()));
        let notifier = money::notifier(&config, password, &store, &directory, &master, outside.0, outside.1)?;
        let waker = notifier.waker();
        let github = GithubKeys::new(&config.leaks.github, config.upstream.client_tls()?, clock.clone())?;
        let exposure = console::Exposure {
            incidents: store.clone(),
            recipients: config.leaks.recipients()?,
            provider: self.provider(&config, &keyring)?,
        };
        let keeping = Keeping::open(store.clone(), store.clone(), deliveries).await?;
        let console = Console::new(
            store.clone(),
            Arc::clone(&directory),
            vault::pepper(&*store, &master, &*random).await?,
            shape.clone(),
            clock.clone(),
            random,
            console::Money {
                ledger: Arc::clone(&ledger),
                ledger_store: store.clone(),
                reports: store.clone(),
                outbox: store.clone(),
                prices: Arc::clone(&prices),
                master_key: master,
                wake_notifier: Box::new(move || waker.wake()),
            },
            keeping,
            exposure,
        );
        let vault = console::Vault {
            data_key: Arc::clone(&keyring.data_key),
            in_force: keyring.clone(),
            administration: Some(keyring.clone()),
        };
        let console = console.with_vault(vault).with_evaluation(Arc::new(EvaluationFile::new(&data)));
        let console = Arc::new(console);
        tokio::spawn(follow_sources(Arc::clone(&keyring), config.vault.source_refresh()?));
        tokio::spawn(follow_rotations(Arc::clone(&console)));
        let local = self.local_model(&config, &data);
        let (log, writer) = match config.request_log.unwrap_or(true) {
            true => RequestLog::to(Box::new(std::io::stdout())).map(|(log, writer)| (log, Some(writer)))?,
            false => (RequestLog::off(), None),
        };
        let running = money::Running::start(&ledger, &store, notifier).await?;
        // Before the words that say so: whoever reads them can connect.
        socket.listen(BACKLOG)?;
        greet(&url, started.as_ref(), self.bootstrap_json.as_deref(), &settings, &local, &data);
        let refreshing = github.as_ref().map(GithubKeys::keep_fresh);
        let control: Arc<dyn ControlPlane> = Arc::new(Control { console: Arc::clone(&console), github });
        let (owners, (alarms, alarmed)) = (store.clone(), Alarms::new());
        let watch = (Arc::clone(&directory), Arc::clone(&clock));
        let upstreams = Arc::clone(&keyring.upstreams);
        let parts = Parts {
            settings,
            directory,
            upstreams,
            shape,
            pepper,
            owners,
            ledger,
            prices,
            control,
            local,
            clock,
            log,
            alarms,
            detector: Arc::new(detector),
        };
        let gate = Gate::new(parts).context("the guards' threads cannot be started")?;
        let following = rules.map(|rules| tokio::spawn(rules.follow(Arc::clone(&gate))));
        let (stop_watch, watch_stopped) = watch::channel(false);
        let watch = KeyWatch { gate: Arc::clone(&gate), console, directory: watch.0, clock: watch.1 };
        let watching = watch.start(alarmed, watch_stopped);
        let cut = gateway::serve(Arc::clone(&gate), socket.into(), stop_signal()?).await?;
        if !gate.settle().await {
            tracing::error!(
                "the owners of the last objects could not be written down: nobody owns them after a restart"
            );
        }
        tracing::info!(cut, "stopped");
        if let Some(following) = following {
            following.abort();
        }
        if let Some(refreshing) = refreshing {
            refreshing.abort();
        }
        let _ = stop_watch.send(true);
        for task in watching {
            let _ = task.await;
        }
        drop(gate);
        if !running.stop().await {
            tracing::error!("what was settled last could not be written: it stays charged as estimates");
        }
        store.close().await;
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        Ok(())
    }

    /// The provider's own usage, with the admin keys that there are for it.
    fn provider(&self, config: &Config, keyring: &Arc<Keyring>) -> Result<Arc<dyn ProviderReports>> {
        let default = config.settings(self.upstream_key.clone())?.upstream;
        let is_of_use = self.upstream_admin_key.is_none() || default.is_some();
        ensure!(is_of_use, "SALLYPORT_UPSTREAM_ADMIN_KEY is set, and no upstream is: unset it, or name the upstream");
        // The key that requests are sent with has no part in this.
        let default = default.map(|target| Upstream { key: self.upstream_admin_key.clone(), ..target });
        let default_key_id = config.upstream.key_id.clone();
        Ok(Arc::new(Provider { keyring: Arc::clone(keyring), default, default_key_id }))
    }

    fn local_model(&self, config: &Config, data: &Path) -> Local {
        let has_upstream = config.has_upstream(self.upstream_key.as_ref());
        if !config.local_model.enabled.unwrap_or(!has_upstream) {
            return Local::Off;
        }
        let default = || data.join("models").join(localmodel::MODEL_FILE_NAME);
        model::load(&config.local_model.path.clone().unwrap_or_else(default), config.local_model.threads)
    }
}

fn bind(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Upstreams with their keys, opened or read, and in force.
async fn keyring(
    config: &Config,
    settings: &Settings,
    directory: &Arc<Directory>,
    data_key: DataKey,
) -> Result<Arc<Keyring>> {
    let sources = Sources::new(&config.vault.sources, config.vault.command_time_max());
    sources.read(true).await;
    let default = settings.upstream.as_ref();
    let keyring = Arc::new(Keyring {
        directory: Arc::clone(directory),
        data_key: Arc::new(data_key),
        upstreams: Upstreams::new(settings),
        sources: Arc::new(sources),
        tls: config.upstream.client_tls()?,
        hosts: Hosts::new(config.vault.upstream_hosts.as_deref(), default),
        default_address: default.map(|at| format!("{}://{}{}", at.scheme, at.authority, at.base_path)),
        problems: Mutex::default(),
    });
    keyring.renew();
    Ok(keyring)
}

/// How often rotations under way are looked at.
const ROTATION_INTERVAL: Duration = Duration::from_millis(500);

/// Carries rotations of upstream keys on, from wherever they are.
async fn follow_rotations(console: Arc<Console>) {
    loop {
        let (lines, is_moving) = console.advance_rotations().await;
        for line in lines {
            if line.is_problem {
                tracing::warn!("{}", line.words);
            } else {
                tracing::info!("{}", line.words);
            }
        }
        if !is_moving {
            tokio::select! {
                () = tokio::time::sleep(ROTATION_INTERVAL) => {}
                () = console.rotation_wanted() => {}
            }
        }
    }
}

/// Puts in force what sources say anew: files that change, programs every so often.
async fn follow_sources(keyring: Arc<Keyring>, refresh: Duration) {
    let mut last_run = Instant::now();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let with_commands = last_run.elapsed() >= refresh;
        if with_commands {
            last_run = Instant::now();
        }
        if keyring.sources.read(with_commands).await {
            tracing::info!("an upstream key's source has another value: it is in force");
            keyring.renew();
        }
    }
}

fn log_to_stderr(filter: &str) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).with_context(|| format!("log: `{filter}`"))?;
    let format = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    format.with_ansi(std::io::stderr().is_terminal()).init();
    Ok(())
}

fn url(address: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    match address.ip() {
        ip if ip.is_unspecified() => format!("{scheme}://127.0.0.1:{}", address.port()),
        _ => format!("{scheme}://{address}"),
    }
}

/// The file that scripts read; for its owner alone.
fn write_bootstrap(path: &Path, url: &str, started: &Started) -> Result<()> {
    let json = serde_json::json!({
        "url": url,
        "admin_key": started.admin_key.expose(),
        "project_id": started.project.as_str(),
        "project_key": started.project_key.expose(),
    });
    let failed = || format!("--bootstrap-json: cannot write {}", path.display());
    // Another mode than 0600 could have been left by somebody else's file of that name.
    let _ = std::fs::remove_file(path);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.with_context(failed)?.write_all(format!("{json}\n").as_bytes()).with_context(failed)
}

/// Tells the person at the terminal where things are and what to do next. Secrets only at the first start, and not
/// where a file was named for them: then nobody may be at the terminal, and what is printed may be kept.
fn greet(
    url: &str,
    started: Option<&Started>,
    bootstrap: Option<&Path>,
    settings: &Settings,
    local: &Local,
    data: &Path,
) {
    let answers = match (&settings.upstream, local) {
        (Some(upstream), _) => format!("{}://{}{}", upstream.scheme, upstream.authority, upstream.base_path),
        (None, Local::Ready(_)) => {
            format!("embedded demo model {} (set SALLYPORT_UPSTREAM_KEY for OpenAI's)", settings.local_model)
        }
        (None, Local::Missing(words)) => format!("nothing yet. {words}"),
        (None, Local::Off) => "nothing: neither an upstream nor the embedded model is configured".to_owned(),
    };
    let mut text = format!(
        "\nSallyport is open at {url}\n  base URL   {url}/v1\n  models     {answers}\n  data       {}\n",
        data.display()
    );
    let Some(started) = started else {
        eprintln!(
            "{text}  keys       as before (lost the admin key? stop the gate and run: sallyport admin recover --data {})\n",
            data.display()
        );
        return;
    };
    if let Some(path) = bootstrap {
        eprintln!("{text}  keys       in {}\n", path.display());
        return;
    }
    let (admin, project) = (started.admin_key.expose(), started.project_key.expose());
    text.push_str(&format!(
        "\nShown once, keep them now:\n  admin key    {admin}\n  project key  {project}\n\nTry it:\n  curl {url}/v1/chat/completions \\\n    \
         -H \"Authorization: Bearer {project}\" -H \"Content-Type: application/json\" \\\n    -d '{{\"model\": \"gpt-4o-mini\", \
         \"messages\": [{{\"role\": \"user\", \"content\": \"Say hello.\"}}]}}'\n\n  # pip install openai\n  from openai import OpenAI\n  \
         client = OpenAI(base_url=\"{url}/v1\", api_key=\"{project}\")\n  print(client.chat.completions.create(model=\"gpt-4o-mini\", \
         messages=[{{\"role\": \"user\", \"content\": \"Say hello.\"}}]).choices[0].message.content)\n"
    ));
    eprintln!("{text}");
}

/// Turns to true at SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: running answers may finish");
        let _ = sender.send(true);
        // The sender lives on, so that the receiver never sees a closed channel.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}

/// The console behind the gateway's port.
struct Control {
    console: Arc<Console>,
    github: Option<Arc<GithubKeys>>,
}

impl ControlPlane for Control {
    fn serve(&self, call: ControlCall) -> std::pin::Pin<Box<dyn Future<Output = ControlAnswer> + Send>> {
        let console = Arc::clone(&self.console);
        Box::pin(async move {
            let answer = console
                .serve(&console::Call {
                    endpoint: call.endpoint,
                    params: &call.params,
                    query: &call.query,
                    body: &call.body,
                    caller: &call.caller,
                    address: call.address.to_string(),
                    user_agent: call.user_agent,
                })
                .await?;
            Ok((200, answer.to_string().into_bytes()))
        })
    }

    fn receive(&self, delivery: SignedDelivery) -> std::pin::Pin<Box<dyn Future<Output = ControlAnswer> + Send>> {
        let (console, github) = (Arc::clone(&self.console), self.github.clone());
        // The one row that a signature opens so far.
        Box::pin(async move { leaks::receive(github.as_deref(), &console, &delivery).await })
    }
}
