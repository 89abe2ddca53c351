//! A control plane over a real store, with a clock, deliveries and a store that a test can set.

use super::*;

/// The time at which every test begins: 2023-11-14T22:13:20Z.
pub(super) const START: i64 = 1_700_000_000;

/// A clock that goes on by so much at each look, and when a test moves it.
pub(super) struct Fixed(pub(super) AtomicI64, i64);

impl Clock for Fixed {
    fn unix_seconds(&self) -> i64 {
        self.0.fetch_add(self.1, SeqCst)
    }
}

/// A real store that can be told to fail.
pub(super) struct Failing {
    pub(super) store: Arc<Sqlite>,
    pub(super) is_down: AtomicBool,
    /// Fails one commit, this many after the next.
    pub(super) fails_once_after: AtomicUsize,
}

#[async_trait::async_trait]
impl Registry for Failing {
    async fn commit(&self, recorded: &RecordedAct) -> Result<(), StoreError> {
        let fails_once = self.fails_once_after.fetch_sub(1, SeqCst) == 0;
        match self.is_down.load(SeqCst) || fails_once {
            true => Err(StoreError::Unavailable("told to fail".into())),
            false => self.store.commit(recorded).await,
        }
    }

    async fn load(&self) -> Result<Option<Records>, StoreError> {
        self.store.load().await
    }

    async fn audit_events(&self, filter: &AuditFilter) -> Result<Option<AuditPage>, StoreError> {
        self.store.audit_events(filter).await
    }
}

/// Deliveries that keep what comes, or fail.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) is_full: AtomicBool,
    pub(super) delivered: std::sync::Mutex<Vec<(String, String)>>,
}

#[async_trait::async_trait]
impl Deliveries for Shelf {
    fn names(&self) -> Vec<String> {
        vec!["billing".into(), "search".into()]
    }

    async fn deliver(&self, to: &str, secret: &NewSecret) -> Result<(), String> {
        if self.is_full.load(SeqCst) {
            return Err("the shelf is full".into());
        }
        let delivered = (to.to_owned(), secret.secret.expose().to_owned());
        self.delivered.lock().expect("unpoisoned").push(delivered);
        Ok(())
    }
}

/// A provider that nothing is known of.
pub(super) struct Silent;

#[async_trait::async_trait]
impl ProviderReports for Silent {
    fn side(&self, _: Option<&str>) -> ProviderSide {
        ProviderSide::default()
    }

    async fn get(&self, _: Option<&str>, _: &str) -> Result<Vec<u8>, String> {
        Err("nobody asked it".to_owned())
    }
}

pub(super) struct World {
    pub(super) console: Console,
    pub(super) store: Arc<Failing>,
    pub(super) caller: Arc<KeyEntry>,
    pub(super) project: String,
    pub(super) secrets: Vec<String>,
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<Fixed>,
    pub(super) deliveries: Arc<Shelf>,
    /// How often the notifier was woken.
    pub(super) woken: Arc<AtomicUsize>,
    /// The keeper of the ledger runs until this is dropped.
    pub(super) _keeping: tokio::sync::watch::Sender<bool>,
}

/// A gate whose clock goes on by a second at each look.
pub(super) async fn world() -> World {
    world_at_pace(1).await
}

/// A gate whose clock stands.
pub(super) async fn still_world() -> World {
    world_at_pace(0).await
}

pub(super) async fn world_at_pace(pace: i64) -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Arc::new(Sqlite::open(folder.path()).await.expect("opens"));
    let store = Arc::new(Failing {
        store: Arc::clone(&sqlite),
        is_down: AtomicBool::new(false),
        fails_once_after: AtomicUsize::new(usize::MAX),
    });
    let clock = Arc::new(Fixed(AtomicI64::new(START), pace));
    let (pepper, shape) = (Pepper::new(&[9; 32]), Shape::default());
    let (records, started) = Console::start(&*store, &pepper, &shape, &*clock, &SystemRandom).await.expect("starts");
    let directory = Arc::new(Directory::new(records));
    let digest = pepper.digest(started.admin_key.expose());
    let caller = Arc::clone(directory.snapshot().key(&digest).expect("the admin key"));
    let secrets = vec![started.admin_key.expose().to_owned(), started.project_key.expose().to_owned()];
    let ledger_clock: Arc<dyn Clock> =
        if pace == 0 { clock.clone() } else { Arc::new(Fixed(AtomicI64::new(START), 0)) };
    let ledger = Ledger::new(Vec::new(), ledger_clock, Patience::default());
    let (keeper, _) = ledger::enter(&ledger, &*sqlite).await.expect("enters");
    let (keeping, stop) = tokio::sync::watch::channel(false);
    tokio::spawn(ledger::keep(keeper, sqlite.clone(), Arc::clone(&ledger), stop));
    let woken = Arc::new(AtomicUsize::new(0));
    let waking = Arc::clone(&woken);
    let money = Money {
        ledger,
        ledger_store: sqlite.clone(),
        reports: sqlite.clone(),
        outbox: sqlite.clone(),
        prices: Arc::new(Prices::new(&[]).expect("the shipped table")),
        master_key: Arc::new(MasterKey::from_text(&"ab".repeat(32)).expect("hexadecimal")),
        wake_notifier: Box::new(move || {
            waking.fetch_add(1, SeqCst);
        }),
    };
    let deliveries = Arc::new(Shelf::default());
    let kept = Keeping::open(sqlite.clone(), sqlite.clone(), deliveries.clone()).await.expect("readable");
    let exposure =
        Exposure { incidents: sqlite, recipients: vec!["security@example.com".to_owned()], provider: Arc::new(Silent) };
    let random = Arc::new(SystemRandom);
    let console = Console::new(store.clone(), directory, pepper, shape, clock.clone(), random, money, kept, exposure);
    let console = console.with_vault(rotation::vault(&Arc::default()));
    let project = started.project.to_string();
    World { console, store, caller, project, secrets, folder, clock, deliveries, woken, _keeping: keeping }
}

impl World {
    /// Calls `METHOD /v1/organization/…?query`, or a path under `/v1/sallyport`, with a body.
    pub(super) async fn call(&self, method: &str, target: &str, body: Value) -> Answer {
        self.call_as(&self.caller, method, target, body).await
    }

    pub(super) async fn call_as(&self, caller: &Arc<KeyEntry>, method: &str, target: &str, body: Value) -> Answer {
        self.text_as(caller, method, target, body).await.map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    /// The answer as it is sent.
    pub(super) async fn text_as(
        &self,
        caller: &Arc<KeyEntry>,
        method: &str,
        target: &str,
        body: Value,
    ) -> Result<String, Refusal> {
        let path = match target.starts_with("/v1/") {
            true => target.to_owned(),
            false => format!("/v1/organization{target}"),
        };
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let found = wire::endpoint::find(method, path).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let params: Vec<_> = found
            .params
            .iter()
            .map(|(name, value)| (name, wire::target::decode(value).expect("text").into_owned()))
            .collect();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let call = Call {
            endpoint: found.endpoint,
            params: &params,
            query,
            body: &body,
            caller,
            address: "192.0.2.1".into(),
            user_agent: Some("test".into()),
        };
        self.console.serve(&call).await
    }

    pub(super) async fn ok(&self, method: &str, target: &str, body: Value) -> Value {
        self.call(method, target, body).await.unwrap_or_else(|refusal| panic!("{method} {target}: {refusal}"))
    }

    pub(super) async fn refused(&self, method: &str, target: &str, body: Value) -> Refusal {
        self.call(method, target, body).await.expect_err(target)
    }

    pub(super) fn opens(&self, secret: &str) -> bool {
        let (snapshot, digest) = (self.console.snapshot(), self.console.pepper.digest(secret));
        let project = |entry: &KeyEntry| entry.key.project.as_ref().and_then(|id| snapshot.project(id));
        snapshot.key(&digest).is_some_and(|entry| {
            !entry.revocation.is_revoked() && project(entry).is_none_or(|project| !project.is_archived())
        })
    }
}

pub(super) fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().expect("a list").iter().map(|item| item["id"].as_str().expect("an id")).collect()
}
