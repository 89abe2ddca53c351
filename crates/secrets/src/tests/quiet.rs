//! Look-alikes.

use super::*;

#[test]
fn nothing_is_found_in_look_alikes() {
    let engine = engine();
    let mut rng = fastrand::Rng::with_seed(4);
    let mut broken = own_key(&mut rng, keys::Kind::Project);
    let last = if broken.ends_with('0') { '1' } else { '0' };
    broken.pop();
    broken.push(last);
    for text in [
        broken.as_str(),
        "sk-xxxxxxxxxxxxxxxxxxxxT3BlbkFJxxxxxxxxxxxxxxxxxxxx",
        "sk-proj-XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXT3BlbkFJXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "sk-abcdefghijklmnopqrstT3BlbkFJuvwxyzABCDEFGHIJKLMN",
        "sk-1234567890123456789T3BlbkFJ12345678901234567890",
        "sk-your-openai-api-key-goes-hereT3BlbkFJyour-openai-key",
        "sk-...T3BlbkFJ...",
        "OPENAI_API_KEY=sk-proj-your-key-here",
        "sk-proj-${OPENAI_KEY}T3BlbkFJ",
        "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "AIzaSyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
        "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "postgres://user:password@localhost:5432/db",
        "postgres://postgres:${DB_PASSWORD}@db:5432/app",
        "mongodb://app:<password>@cluster0.mongodb.net/test",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "if line.startswith('-----BEGIN RSA PRIVATE KEY-----'):",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\n-----END PUBLIC KEY-----",
        "Never put NEXT_PUBLIC_OPENAI_API_KEY into a page.",
        "NEXT_PUBLIC_OPENAI_API_KEY=your-key-here",
        "NEXT_PUBLIC_SUPABASE_ANON_KEY=eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "VITE_FIREBASE_API_KEY=\"AB12cd34EF56gh78\"",
        "// dangerouslyAllowBrowser: true would leak the key",
        "new OpenAI({ apiKey, dangerouslyAllowBrowser: true });\\n\\nhttps://help.openai.com/en/articles",
        "dangerouslyAllowBrowser: false",
        "sha512-K2HBmZr3Vn9SkF3F4ZCDZ8dD3V6wUXLNXbQf5rLqSBp4ZCPX1SxMKqFWBt0pyzdmvbsPtcCFDfmIlRxUWZD7cA==",
        "task-list-with-a-long-name risk-assessment-and-so-on disk-usage",
        "hf_model_name_that_is_quite_long_and_has_words",
        "week_number_of_the_year_and_month_2024_10_12_13",
    ] {
        let findings = engine.scan(text.as_bytes());
        assert!(findings.is_empty(), "{text}: {findings:?}");
    }
}

#[test]
fn random_data_is_quiet() {
    let engine = engine();
    let mut rng = fastrand::Rng::with_seed(5);
    for alphabet in ["0123456789abcdef", ALNUM, URL, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"] {
        let text: String = (0..20_000).map(|_| random(&mut rng, alphabet, 40) + "\n").collect();
        let findings = engine.scan(text.as_bytes());
        assert!(findings.is_empty(), "{findings:?}");
    }
    let bytes: Vec<u8> = (0..1 << 20).map(|_| rng.u8(..)).collect();
    assert!(engine.scan(&bytes).is_empty());
}
