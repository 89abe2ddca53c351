//! Money's wiring: the price table, the ledger's life in the database, its keeper, and the notifier.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use backends::sqlite::Sqlite;
use keys::{MasterKey, Random, Secret};
use ledger::{Keeper, Ledger, LedgerStore};
use notify::{Mail, Notifier, Sender, Target, Webhooks};
use pricing::Prices;
use store::{Clock, Directory, Records, Webhook};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;

/// How long a stop waits for the database to take what was settled last.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);

/// The price table in force at the start.
///
/// # Errors
/// When an override makes no sense.
pub(crate) fn prices(config: &Config, records: &Records, now: i64) -> Result<Arc<Prices>> {
    let mut fixed = vec![pricing::demo(localmodel::MODEL_ID, localmodel::CONTEXT_TOKENS as u64)];
    fixed.extend(config.money.prices()?);
    let prices = Prices::new(&fixed).context("money.prices_file")?;
    prices.set(console::table_in_force(&prices, &records.prices).context("the stored prices cannot be used")?);
    let age_days = prices.table().age_days(now);
    if age_days >= pricing::OLD_DAYS {
        tracing::warn!(
            age_days,
            "the shipped price list is old: check it against the provider's, and set what changed"
        );
    }
    Ok(Arc::new(prices))
}

/// What runs beside the gate, until it is stopped.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    keeper: JoinHandle<bool>,
    notifier: JoinHandle<()>,
}

impl Running {
    /// Begins the ledger's life, and delivers notices.
    ///
    /// # Errors
    /// When the database cannot be written, or the mail settings make no sense.
    pub(crate) async fn start(ledger: &Arc<Ledger>, store: &Arc<Sqlite>, notifier: Notifier) -> Result<Running> {
        let (keeper, estimates) = ledger::enter(ledger, &**store).await.context("the ledger cannot begin")?;
        if !estimates.is_empty() {
            let amount: pricing::Nano = estimates.iter().map(|estimate| estimate.amount).sum();
            tracing::warn!(
                count = estimates.len(),
                %amount,
                "the last process ended without settling: what it may have spent stays charged as estimates (sallyport estimate list)"
            );
        }
        let (stop, stopped) = watch::channel(false);
        let keeper = tokio::spawn(keep(keeper, Arc::clone(store), Arc::clone(ledger), stopped.clone()));
        Ok(Running { stop, keeper, notifier: tokio::spawn(notifier.run(stopped)) })
    }

    /// Writes what is settled, returns every lease, and finishes deliveries under way. Whether all was written.
    pub(crate) async fn stop(self) -> bool {
        let _ = self.stop.send(true);
        // A database that hangs must not hang the stop: what it did not take stays charged as estimates.
        let keeper = tokio::time::timeout(STOP_TIME_MAX, self.keeper).await;
        let is_written = keeper.is_ok_and(|ended| ended.unwrap_or(false));
        let _ = self.notifier.await;
        is_written
    }
}

async fn keep(keeper: Keeper, store: Arc<Sqlite>, ledger: Arc<Ledger>, stop: watch::Receiver<bool>) -> bool {
    let store: Arc<dyn LedgerStore> = store;
    ledger::keep(keeper, store, ledger, stop).await
}

/// The notifier, which opens a webhook's secret for each attempt and keeps none.
///
/// # Errors
/// When mail or TLS settings make no sense.
pub(crate) fn notifier(
    config: &Config,
    smtp_password: Option<Secret>,
    store: &Arc<Sqlite>,
    directory: &Arc<Directory>,
    master: &Arc<MasterKey>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Notifier> {
    let mail = config.mail.settings(smtp_password)?.map(Mail::new).transpose().context("mail")?;
    let (directory, master) = (Arc::clone(directory), Arc::clone(master));
    let target = move |id: &str| {
        let webhook = directory.snapshot().webhooks.get(id)?.clone();
        let secret = master.open(&Webhook::seal_name(id), &webhook.secret).ok()?;
        let secret = Secret::new(std::str::from_utf8(&secret).ok()?);
        Some(Target { url: webhook.url, secret })
    };
    let webhooks = Webhooks::new(config.upstream.client_tls()?, target);
    Ok(Notifier::new(store.clone(), Arc::new(Sender::new(mail, webhooks)), clock, random))
}
