//! Every row of the table finds an instance of itself.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::*;
use crate::rules;

/// Made from the row's own expression; what the row's check knows beyond it is made here.
fn instance(rule: &crate::Rule, runner: &mut TestRunner, rng: &mut fastrand::Rng) -> String {
    match rule.kind {
        "openai_api_key" => return openai_keys(rng).remove(3),
        "sallyport_key" => return own_key(rng, keys::Kind::Project),
        "private_key" => {
            return format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", random(rng, ALNUM, 64));
        }
        "database_url" => return format!("postgres://app:{}@db.internal", random(rng, ALNUM, 14)),
        "supabase_service_role" => {
            return format!(
                "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIiwi{}.{}",
                random(rng, URL, 20),
                random(rng, URL, 43)
            );
        }
        "azure_openai_key" => return format!("AZURE_OPENAI_API_KEY={}", random(rng, "0123456789abcdef", 32)),
        "aws_secret_access_key" => return format!("aws_secret_access_key = {}", random(rng, ALNUM, 40)),
        "telegram_bot_token" => return format!("8123456789:AA{}", random(rng, URL, 33)),
        "inlined_secret_variable" => return format!("NEXT_PUBLIC_OPENAI_API_KEY={}", random(rng, ALNUM, 32)),
        "browser_client" => return "{ dangerouslyAllowBrowser: true }".into(),
        "direct_browser_call" => return "api.openai.com/v1/x\", {headers: {Authorization: `Bearer ".into(),
        _ => {}
    }
    let made =
        proptest::string::string_regex(&format!("{}{}", rule.lead, rule.pattern).replace(r"\d", "[0-9]")).unwrap();
    made.new_tree(runner).unwrap().current()
}

#[test]
fn every_row_finds_itself() {
    let engine = engine();
    let mut runner = TestRunner::deterministic();
    let mut rng = fastrand::Rng::with_seed(2);
    let mut poor = Vec::new();
    for rule in rules::all() {
        assert!(!rule.source.is_empty() && !rule.mend.is_empty(), "{}", rule.kind);
        assert!(rule.anchors.iter().all(|anchor| anchor.len() >= 2), "{}", rule.kind);
        // A few of many may look like a placeholder by chance: proptest draws short repetitions often.
        let found = (0..20).filter(|_| {
            let text = instance(rule, &mut runner, &mut rng);
            let findings = engine.scan(format!("let x = {text} ;").as_bytes());
            let is_found = findings.iter().any(|finding| finding.rule.kind == rule.kind);
            if !is_found {
                println!("{}: {text}: {:?}", rule.kind, findings);
            }
            is_found
        });
        let found = found.count();
        if found < 16 {
            poor.push(format!("{}: {found} of 20", rule.kind));
        }
    }
    assert!(poor.is_empty(), "{poor:?}");
}

#[test]
fn kinds_are_unique() {
    let mut kinds: Vec<&str> = rules::all().map(|rule| rule.kind).collect();
    let count = kinds.len();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), count);
}
