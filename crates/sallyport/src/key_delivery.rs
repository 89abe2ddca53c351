//! Where new secrets of keys go by themselves: a file, a command's standard input, a Kubernetes secret's manifest.
//!
//! Promises: only what the operator's configuration names is written or run, so that an admin key cannot make the gate
//! write or run anything else; a file is there whole or not at all, and for its owner alone; a command gets the secret on
//! its standard input, never as an argument or in its environment, and has a bounded time; no secret is in an error.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use console::{Deliveries, NewSecret};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use zeroize::Zeroizing;

use crate::command::without_our_secrets;

/// How long a command may take.
const COMMAND_SECONDS_MAX: u64 = 20;
/// Name of the value in a Kubernetes secret where none is given.
const SECRET_KEY_DEFAULT: &str = "api-key";

/// One delivery as it is written: a name, and one of the three.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryConfig {
    /// What calls name it by.
    name: String,
    /// A file that holds the secret and nothing else.
    file: Option<PathBuf>,
    /// A program with its arguments, which reads the secret from its standard input.
    command: Option<Vec<String>>,
    /// A manifest of a Kubernetes secret.
    kubernetes: Option<KubernetesConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KubernetesConfig {
    /// Where the manifest goes; something else applies it.
    manifest: PathBuf,
    /// The secret's name.
    secret: String,
    /// Its namespace.
    namespace: Option<String>,
    /// The value's name in it.
    key: Option<String>,
}

#[derive(Debug)]
enum Target {
    File(PathBuf),
    Command(Vec<String>),
    Kubernetes(KubernetesConfig),
}

/// Deliveries by name.
#[derive(Debug, Default)]
pub(crate) struct KeyDeliveries(BTreeMap<String, Target>);

impl KeyDeliveries {
    /// Checks what was written.
    ///
    /// # Errors
    /// When a name stands twice, or a delivery is none or more than one thing.
    pub(crate) fn new(written: &[DeliveryConfig]) -> Result<KeyDeliveries> {
        let mut deliveries = BTreeMap::new();
        for delivery in written {
            let name = &delivery.name;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let is_good = (1..=64).contains(&name.len()) && name.bytes().all(is_name);
            ensure!(is_good, "key_delivery: `{name}` must be 1 to 64 of A-Z a-z 0-9 - _ .");
            let file = delivery.file.clone().map(Target::File);
            let command = delivery.command.clone().map(Target::Command);
            let kubernetes = delivery.kubernetes.clone().map(Target::Kubernetes);
            let mut targets: Vec<Target> = [file, command, kubernetes].into_iter().flatten().collect();
            let one = "key_delivery: give each exactly one of `file`, `command` and `kubernetes`";
            ensure!(targets.len() == 1, "{one}; `{name}` has {}", targets.len());
            let Some(target) = targets.pop() else { continue };
            if let Target::Command(words) = &target {
                ensure!(
                    words.first().is_some_and(|word| !word.is_empty()),
                    "key_delivery: `{name}` has an empty command"
                );
            }
            ensure!(deliveries.insert(name.clone(), target).is_none(), "key_delivery: `{name}` stands twice");
        }
        Ok(KeyDeliveries(deliveries))
    }
}

#[async_trait::async_trait]
impl Deliveries for KeyDeliveries {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn deliver(&self, to: &str, secret: &NewSecret) -> Result<(), String> {
        match self.0.get(to) {
            None => Err("the configuration names no such delivery any more".to_owned()),
            Some(Target::Command(command)) => run(command, secret).await,
            Some(Target::File(path)) => write(path, &Zeroizing::new(format!("{}\n", secret.secret.expose()))),
            Some(Target::Kubernetes(kubernetes)) => write(&kubernetes.manifest, &manifest(kubernetes, secret)),
        }
    }
}

/// Writes a file beside the one that it then replaces: whoever reads it reads the old secret or the new one.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let unfinished = path.with_file_name(name);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    let mut file = file.map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)
}

/// The manifest of a Kubernetes secret. Its words are quoted as JSON, which YAML reads.
fn manifest(kubernetes: &KubernetesConfig, secret: &NewSecret) -> Zeroizing<String> {
    let mut metadata = serde_json::json!({
        "name": kubernetes.secret,
        "annotations": {"sallyport/key-id": secret.key_id, "sallyport/key-name": secret.key_name},
    });
    if let Some(namespace) = &kubernetes.namespace {
        metadata["namespace"] = namespace.as_str().into();
    }
    let value = Zeroizing::new(STANDARD.encode(secret.secret.expose()));
    let key = serde_json::json!(kubernetes.key.as_deref().unwrap_or(SECRET_KEY_DEFAULT));
    Zeroizing::new(format!(
        "apiVersion: v1\nkind: Secret\ntype: Opaque\nmetadata: {metadata}\ndata: {{{key}: \"{}\"}}\n",
        value.as_str()
    ))
}

/// Runs a command without a shell. What it prints is thrown away: it may repeat the secret.
async fn run(command: &[String], secret: &NewSecret) -> Result<(), String> {
    let (program, arguments) = command.split_first().ok_or_else(|| "the command is empty".to_owned())?;
    let limit = Duration::from_secs(COMMAND_SECONDS_MAX);
    let ran = tokio::time::timeout(limit, async {
        let mut command = tokio::process::Command::new(program);
        without_our_secrets(&mut command);
        let mut child = command
            .args(arguments)
            .env("SALLYPORT_KEY_ID", &secret.key_id)
            .env("SALLYPORT_KEY_NAME", &secret.key_name)
            .env("SALLYPORT_PROJECT_ID", secret.project_id.as_deref().unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run `{program}`: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read is told by its exit status.
            let _ = input.write_all(secret.secret.expose().as_bytes()).await;
            let _ = input.write_all(b"\n").await;
        }
        child.wait().await.map_err(|error| format!("`{program}` was lost: {error}"))
    });
    match ran.await {
        Err(_) => Err(format!("`{program}` did not end within {COMMAND_SECONDS_MAX} seconds")),
        Ok(Err(why)) => Err(why),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("`{program}` ended with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use keys::Secret;

    use super::*;

    fn secret() -> NewSecret {
        NewSecret {
            key_id: "key_1".into(),
            key_name: "a \"name\"".into(),
            project_id: Some("proj_1".into()),
            secret: Secret::new("sp-proj_secret"),
            expires_at: None,
        }
    }

    fn deliveries(toml: &str) -> Result<KeyDeliveries> {
        #[derive(Deserialize)]
        struct File {
            key_delivery: Vec<DeliveryConfig>,
        }
        KeyDeliveries::new(&toml::from_str::<File>(toml)?.key_delivery)
    }

    #[tokio::test]
    async fn a_file_is_replaced_whole_and_is_its_owner_s() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let toml = format!("[[key_delivery]]\nname = \"app\"\nfile = {:?}\n", path);
        let deliveries = deliveries(&toml).expect("good");
        std::fs::write(&path, "old").expect("written");
        deliveries.deliver("app", &secret()).await.expect("delivered");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "sp-proj_secret\n");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let nowhere = KeyDeliveries::new(&[]).expect("good").deliver("app", &secret()).await.expect_err("gone");
        assert!(nowhere.contains("no such delivery"), "{nowhere}");
    }

    #[tokio::test]
    async fn a_command_reads_the_secret_and_its_failures_do_not_show_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("got");
        let script = format!("cat > {}; echo $SALLYPORT_KEY_ID >> {}", path.display(), path.display());
        let toml = format!(
            "[[key_delivery]]\nname = \"app\"\ncommand = [\"sh\", \"-c\", {script:?}]\n\
             [[key_delivery]]\nname = \"bad\"\ncommand = [\"sh\", \"-c\", \"cat >&2; exit 3\"]\n\
             [[key_delivery]]\nname = \"none\"\ncommand = [\"/no/such/program\"]\n"
        );
        let deliveries = deliveries(&toml).expect("good");
        deliveries.deliver("app", &secret()).await.expect("delivered");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "sp-proj_secret\nkey_1\n");
        for (name, word) in [("bad", "exit status: 3"), ("none", "cannot run")] {
            let why = deliveries.deliver(name, &secret()).await.expect_err(name);
            assert!(why.contains(word) && !why.contains("secret"), "{why}");
        }
    }

    #[tokio::test]
    async fn a_manifest_holds_the_secret_under_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret.yaml");
        let toml = format!(
            "[[key_delivery]]\nname = \"k\"\n[key_delivery.kubernetes]\nmanifest = {path:?}\nsecret = \"openai\"\n\
             namespace = \"prod\"\n"
        );
        deliveries(&toml).expect("good").deliver("k", &secret()).await.expect("delivered");
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(text.contains("kind: Secret\n") && text.contains("\"namespace\":\"prod\""), "{text}");
        assert!(text.contains(&format!("data: {{\"api-key\": \"{}\"}}", STANDARD.encode("sp-proj_secret"))), "{text}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (toml, word) in [
            ("[[key_delivery]]\nname = \"a\"\n", "exactly one"),
            ("[[key_delivery]]\nname = \"a\"\nfile = \"x\"\ncommand = [\"y\"]\n", "exactly one"),
            ("[[key_delivery]]\nname = \"a b\"\nfile = \"x\"\n", "1 to 64"),
            ("[[key_delivery]]\nname = \"a\"\ncommand = []\n", "empty command"),
            ("[[key_delivery]]\nname = \"a\"\nfile = \"x\"\n[[key_delivery]]\nname = \"a\"\nfile = \"y\"\n", "twice"),
            ("[[key_delivery]]\nname = \"a\"\nfil = \"x\"\n", "unknown field"),
        ] {
            let error = deliveries(toml).expect_err(toml).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
