//! No report has a secret in it, and each is what its readers expect.

use std::fs;

use scan::{Baseline, Options, Progress, Target};
use serde_json::Value;

use crate::make::{ALNUM, openai, own, random};
use crate::tree;

#[test]
fn no_secret_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(9);
    let secrets = [openai(&mut rng), own(&mut rng), random(&mut rng, ALNUM, 40), random(&mut rng, ALNUM, 12)];
    let text = format!(
        "a = \"{}\"; b = '{}'; aws_secret_access_key = {}\nurl: postgres://app:{}@db.internal/x {}\n",
        secrets[0], secrets[1], secrets[2], secrets[3], secrets[0]
    );
    fs::write(folder.path().join("a.py"), &text).unwrap();
    fs::write(folder.path().join("b.js"), format!("k('{}' + \"{}\")", &secrets[0][..30], &secrets[0][30..])).unwrap();
    let outcome = tree(folder.path());
    assert_eq!(outcome.hits.len(), 6, "{:?}", outcome.hits);
    let baseline = Baseline::of(&outcome.hits).to_json();
    for report in [scan::text(&outcome.hits), scan::json(&outcome.hits), scan::sarif(&outcome.hits, "1.2.3"), baseline]
    {
        for (secret, public) in secrets.iter().zip([15, 9, 0, 0]) {
            // Not even a part of it.
            let part = &secret[public..secret.len() - 4];
            assert!((0..=part.len() - 8).all(|at| !report.contains(&part[at..at + 8])), "{report}");
        }
    }
}

#[test]
fn json_as_it_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let key = openai(&mut fastrand::Rng::with_seed(10));
    let path = folder.path().join("a.env");
    fs::write(&path, format!("\nK={key}")).unwrap();
    let list: Vec<Value> = serde_json::from_str(&scan::json(&tree(folder.path()).hits)).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["file"], path.display().to_string());
    assert_eq!(list[0]["line"], 2);
    assert_eq!(list[0]["kind"], "openai_api_key");
    assert_eq!(list[0]["span"], serde_json::json!([3, 3 + key.len()]));
    assert!(list[0]["redacted"].as_str().unwrap().ends_with(&format!("****{}", &key[key.len() - 4..])));
    assert_eq!(scan::json(&[]).trim(), "[]");
}

#[test]
fn sarif_has_what_its_schema_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(11);
    fs::write(folder.path().join("a b.env"), format!("{}\n{}", openai(&mut rng), own(&mut rng))).unwrap();
    let log: Value = serde_json::from_str(&scan::sarif(&tree(folder.path()).hits, "1.2.3")).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "sallyport");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!((rules.len(), results.len()), (2, 2));
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["note", "warning", "error"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].is_string());
        let location = &result["locations"][0]["physicalLocation"];
        assert!(location["artifactLocation"]["uri"].as_str().unwrap().ends_with("a%20b.env"));
        assert!(location["region"]["startLine"].as_u64().unwrap() >= 1);
        assert!(location["region"]["startColumn"].as_u64().unwrap() >= 1);
        assert_eq!(result["partialFingerprints"]["sallyportSecret/v1"].as_str().unwrap().len(), 32);
    }
}

#[test]
fn the_caret_is_under_the_stars() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.py"), format!("key = \"{}\"", own(&mut fastrand::Rng::with_seed(12)))).unwrap();
    let report = scan::text(&tree(folder.path()).hits);
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[0].contains("a.py:1:8: key of this gate [sallyport_key, high]"), "{report}");
    assert_eq!(lines[2].find('^'), lines[1].find("sp-"));
    assert!(lines[3].contains("sallyport key revoke"));
}

#[test]
fn known_and_allowed_findings_are_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = fastrand::Rng::with_seed(13);
    let (path, known) = (folder.path(), openai(&mut rng));
    fs::write(path.join("a.env"), format!("{known}\n")).unwrap();
    let baseline = path.join("known.json");
    fs::write(&baseline, Baseline::of(&tree(path).hits).to_json()).unwrap();
    // The line has moved; the key is the same. Another key, or the same in another file, is not known.
    fs::write(path.join("a.env"), format!("# more\n{known}\n{}\n", openai(&mut rng))).unwrap();
    fs::write(path.join("b.env"), &known).unwrap();
    let mut hits = tree(path).hits;
    assert_eq!(Baseline::read(&baseline).unwrap().drop_known(&mut hits), 1);
    assert_eq!(hits.len(), 2);

    let allowed = tempfile::tempdir().unwrap();
    let mut line = |comment: &str| format!("k = \"{}\" {comment}\n", openai(&mut rng));
    let text =
        [line("# sallyport:allow"), line("# gitleaks:allow"), line("# pragma: allowlist secret"), line("")].concat();
    fs::write(allowed.path().join("a.py"), text + "# pragma: allowlist nextline secret\n" + &line("")).unwrap();
    let lines: Vec<u64> = tree(allowed.path()).hits.iter().map(|hit| hit.line).collect();
    assert_eq!(lines, [4]);
}

#[test]
fn what_is_excluded_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let key = openai(&mut fastrand::Rng::with_seed(14));
    fs::create_dir_all(path.join("src/vendor/x")).unwrap();
    fs::create_dir_all(path.join("fixtures")).unwrap();
    for file in ["src/vendor/x/a", "src/a.env", "fixtures/a", "src/b.snap", "c"] {
        fs::write(path.join(file), &key).unwrap();
    }
    fs::write(path.join(".sallyportignore"), "# made\nvendor/\n/fixtures\n").unwrap();
    let options = Options { exclude: vec!["*.snap".into()], ..Options::default() };
    let outcome = scan::run(&[Target::Path(path.into())], &options, &Progress::default()).unwrap();
    assert_eq!(crate::files(&outcome.hits, path), ["c", "src/a.env"]);
}
