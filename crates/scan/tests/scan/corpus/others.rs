//! Credentials of other services, and signs.

use super::{File, Rng, cut, file};
use crate::make::{ALNUM, HEX, URL, base64, random};

/// Credentials of others, and signs.
pub(super) fn others() -> Vec<(&'static str, fn(&mut Rng) -> File)> {
    const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    vec![
        ("aws", |rng| file("credentials", format!("aws_access_key_id = AKIA{}\n", random(rng, UPPER, 16)))),
        ("aws secret", |rng| {
            file(
                "s3.ini",
                format!(
                    "aws_secret_access_key = {}\n",
                    random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40)
                ),
            )
        }),
        ("github", |rng| file("gh.sh", format!("git clone https://x:ghp_{}@github.com/a/b", random(rng, ALNUM, 36)))),
        ("github fine-grained", |rng| {
            file("gh.py", format!("T = 'github_pat_{}_{}'", random(rng, ALNUM, 22), random(rng, ALNUM, 59)))
        }),
        ("gitlab", |rng| file("ci.yml", format!("TOKEN: glpat-{}\n", random(rng, URL, 20)))),
        ("slack", |rng| {
            file(
                "slack.js",
                format!(
                    "token: 'xoxb-{}-{}-{}'",
                    random(rng, "123456789", 12),
                    random(rng, "123456789", 13),
                    random(rng, ALNUM, 24)
                ),
            )
        }),
        ("slack webhook", |rng| {
            file(
                "hook.txt",
                format!(
                    "https://hooks.slack.com/services/T{}/B{}/{}",
                    random(rng, "ABCDEF123456", 10),
                    random(rng, "ABCDEF123456", 10),
                    random(rng, ALNUM, 24)
                ),
            )
        }),
        ("stripe", |rng| file("pay.rb", format!("Stripe.api_key = 'sk_live_{}'", random(rng, ALNUM, 24)))),
        ("google", |rng| file("maps.xml", format!("<meta value=\"AIzaSy{}\"/>", random(rng, URL, 33)))),
        ("anthropic", |rng| file("claude.env", format!("ANTHROPIC_API_KEY=sk-ant-api03-{}AA\n", random(rng, URL, 93)))),
        ("hugging face", |rng| {
            file(
                "hf.py",
                format!("login('hf_{}')", random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 34)),
            )
        }),
        ("groq", |rng| file("groq.env", format!("GROQ_API_KEY=gsk_{}", random(rng, ALNUM, 52)))),
        ("sendgrid", |rng| file("mail.env", format!("SG.{}.{}", random(rng, URL, 22), random(rng, URL, 43)))),
        ("npm", |rng| file(".npmrc", format!("//registry.npmjs.org/:_authToken=npm_{}\n", random(rng, ALNUM, 36)))),
        ("pypi", |rng| file(".pypirc", format!("password = pypi-AgEIcHlwaS5vcmc{}\n", random(rng, URL, 130)))),
        ("digitalocean", |rng| file("do.tf", format!("token = \"dop_v1_{}\"", random(rng, HEX, 64)))),
        ("shopify", |rng| file("shop.env", format!("shpat_{}", random(rng, HEX, 32)))),
        ("telegram", |rng| {
            file("bot.py", format!("TOKEN = '{}:AA{}'", random(rng, "123456789", 10), random(rng, URL, 33)))
        }),
        ("twilio", |rng| file("tw.env", format!("TWILIO_API_KEY=SK{}", random(rng, HEX, 32)))),
        ("azure storage", |rng| {
            file(
                "az.json",
                format!("\"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={}==;\"", random(rng, ALNUM, 86)),
            )
        }),
        ("databricks", |rng| file("db.cfg", format!("token = dapi{}", random(rng, HEX, 32)))),
        ("vault", |rng| file("v.env", format!("VAULT_TOKEN=hvs.{}", random(rng, URL, 95)))),
        ("private key", |rng| {
            file(
                "id_rsa",
                format!(
                    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
                    cut(&random(rng, ALNUM, 800), 64, "\n")
                ),
            )
        }),
        ("service account", |rng| {
            let pem = format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                cut(&random(rng, ALNUM, 1600), 64, "\n")
            );
            file("sa.json", serde_json::json!({"type": "service_account", "private_key": pem}).to_string())
        }),
        ("database", |rng| {
            file("database.yml", format!("url: postgres://app:{}@db.prod.internal:5432/app\n", random(rng, ALNUM, 16)))
        }),
        ("client secret", |rng| file("rt.log", format!("{{\"value\":\"ek_{}\"}}", random(rng, HEX, 32)))),
        ("webhook secret", |rng| file("wh.env", format!("WEBHOOK=whsec_{}", random(rng, ALNUM, 32)))),
        ("inlined variable", |rng| {
            file(".env.production", format!("NEXT_PUBLIC_OPENAI_API_KEY={}\n", random(rng, ALNUM, 40)))
        }),
        ("inlined variable, read", |_| file("page.tsx", "const k = process.env.NEXT_PUBLIC_OPENAI_API_KEY\n")),
        ("vite variable", |_| file("main.ts", "new OpenAI({ apiKey: import.meta.env.VITE_OPENAI_KEY })\n")),
        ("browser client", |_| {
            file("chat.jsx", "const c = new OpenAI({ apiKey: k, dangerouslyAllowBrowser: true })\n")
        }),
        ("browser client, minified", |_| file("chunk.js", "var c=new OpenAI({apiKey:k,dangerouslyAllowBrowser:!0});")),
        ("direct call", |_| {
            file(
                "index.html",
                "<script>fetch('https://api.openai.com/v1/responses', {method: 'POST', headers: {Authorization: `Bearer ${k}`}})</script>",
            )
        }),
        ("split aws", |rng| file("a.js", format!("id = 'AKIA' + '{}'", random(rng, UPPER, 16)))),
        ("aws in base64", |rng| {
            file("ud.txt", base64(format!("export AWS_ACCESS_KEY_ID=AKIA{}\n", random(rng, UPPER, 16)).as_bytes()))
        }),
        ("github in json escapes", |rng| file("t.json", format!("{{\"t\":\"\\u0067hp_{}\"}}", random(rng, ALNUM, 36)))),
    ]
}
