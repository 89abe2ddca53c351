//! The binary: command line, configuration, wiring. One file per subcommand.

mod admin;
mod alert;
mod api;
mod command;
mod config;
mod days;
mod estimate;
mod evaluation;
mod finding;
mod guard;
mod harden;
mod hold;
mod incident;
mod inspect;
mod key;
mod key_delivery;
mod key_watch;
mod keyring;
mod leaks;
mod limit;
mod model;
mod money;
mod output;
mod price;
mod project;
mod provider;
mod redteam;
mod rules_file;
mod scan;
mod serve;
mod service_account;
mod sources;
mod upstream;
mod usage;
mod vault;
mod webhook;

use std::alloc::System;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every block is wiped when it is freed: headers, buffers of connections and parsed bodies hold copies of keys that no
/// type of ours could wipe.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<System> = zeroizing_alloc::ZeroAlloc(System);

/// A gate between your applications and the OpenAI API.
///
/// Applications change two settings in the official SDK (base URL and key) and notice nothing else; real keys stay here.
#[derive(Debug, Parser)]
#[command(name = "sallyport", version, max_term_width = 100, after_help = FIRST_STEPS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  sallyport serve                              with the embedded demo model, no account needed
  SALLYPORT_UPSTREAM_KEY=sk-… sallyport serve  in front of the OpenAI API

Then, with the admin key that the first start printed:
  export SALLYPORT_URL=http://127.0.0.1:8080 SALLYPORT_ADMIN_KEY=sp-admin_…
  sallyport project create Search              a project of its own for each application
  sallyport key create PROJECT_ID ci           a key of it; the secret is shown once
  sallyport key revoke PROJECT_ID KEY_ID       refused from now on, its open streams are cut
  sallyport incident open KEY_ID --reason …    a key leaked: ends it, and shows what it did
  sallyport limit set 50 --project PROJECT_ID  at most 50 dollars a month, whatever happens

Configuration comes from flags, then environment (SALLYPORT_…), then the file named by --config;
examples/sallyport.toml shows every setting.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gate.
    Serve(Box<serve::Serve>),
    /// List, create, rename or archive projects of a running gate.
    Project(project::Project),
    /// Keys of a running gate: list, create, change, rotate, suspend, revoke; what they are held to.
    Key(Box<key::Key>),
    /// What the gate noticed: keys in browsers, decoys that were used, who tries unknown keys.
    Finding(finding::Finding),
    /// Guards of projects: what they do with prompt injections in requests.
    Guard(guard::Guard),
    /// List, create or delete service accounts of a running gate, and make keys of them.
    ServiceAccount(service_account::ServiceAccount),
    /// Spending limits: list, set, raise for a time, remove.
    Limit(limit::Limit),
    /// What was used and what it cost, by day, project, model or key.
    Usage(usage::Usage),
    /// Exposed keys: end one, see what it did, replace it, report it.
    Incident(incident::Incident),
    /// Money that running requests hold.
    Hold(hold::Hold),
    /// What was charged without anybody knowing for sure; lower it to what is known.
    Estimate(estimate::Estimate),
    /// Spend alerts: list, add, remove, test.
    Alert(alert::Alert),
    /// Webhooks that are told of alerts: list, add, remove.
    Webhook(webhook::Webhook),
    /// Prices: list, set and remove on a running gate; `check` works offline.
    Price(price::Price),
    /// Upstreams and their keys: list, add, disable, remove, rotate; which of them a project uses.
    Upstream(upstream::Upstream),
    /// The vault that upstream keys are sealed in: its state, and another master key. Works offline.
    Vault(vault::Vault),
    /// Admin keys: list, create and revoke on a running gate; `recover` works offline.
    Admin(admin::Admin),
    /// Find exposed keys in files, archives and git history; works offline.
    Scan(scan::Scan),
    /// Judge texts with the prompt-injection detector, or measure it; works offline.
    Inspect(inspect::Inspect),
    /// Attack your own project's model through a running gate, and see what got through.
    Redteam(redteam::Redteam),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Project(project) => project.run(),
        Command::Key(key) => key.run(),
        Command::Finding(finding) => finding.run(),
        Command::Guard(guard) => guard.run(),
        Command::ServiceAccount(account) => account.run(),
        Command::Limit(limit) => limit.run(),
        Command::Usage(usage) => usage.run(),
        Command::Incident(incident) => incident.run(),
        Command::Hold(hold) => hold.run(),
        Command::Estimate(estimate) => estimate.run(),
        Command::Alert(alert) => alert.run(),
        Command::Webhook(webhook) => webhook.run(),
        Command::Price(price) => price.run(),
        Command::Upstream(upstream) => upstream.run(),
        Command::Vault(vault) => vault.run(),
        Command::Admin(admin) => admin.run(),
        Command::Scan(scan) => return scan.run(),
        Command::Inspect(inspect) => return inspect.run(),
        Command::Redteam(redteam) => return redteam.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sallyport: {error:#}");
            ExitCode::FAILURE
        }
    }
}
