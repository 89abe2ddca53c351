use keys::Secret;

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
    let example = include_str!("../../../../examples/sallyport.toml");
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
