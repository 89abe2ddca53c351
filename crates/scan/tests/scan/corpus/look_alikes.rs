//! Look-alikes.

use super::{File, Rng, cut, file};
use crate::make::{ALNUM, HEX, base64, openai, own, random};

/// What looks like a secret and is none.
pub(super) fn look_alikes() -> Vec<(&'static str, fn(&mut Rng) -> File)> {
    vec![
        ("checksum of ours is wrong", |rng| {
            let mut key = own(rng);
            let last = key.pop().unwrap();
            key.push(if last == 'a' { 'b' } else { 'a' });
            file("a.env", key)
        }),
        ("x for a key", |_| file("a.env", "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxT3BlbkFJxxxxxxxxxxxxxxxxxxxx")),
        ("dots", |_| file("a.md", "Set `OPENAI_API_KEY=sk-...` or `sk-proj-...`")),
        ("your key", |_| {
            file("env.example", "OPENAI_API_KEY=sk-your-api-key-here\nNEXT_PUBLIC_OPENAI_API_KEY=your_key\n")
        }),
        ("angle brackets", |_| file("a.md", "export OPENAI_API_KEY=<your OpenAI key>")),
        ("variable", |_| file("a.yml", "key: ${OPENAI_API_KEY}\nother: ${{ secrets.OPENAI_API_KEY }}\n")),
        ("sequence", |_| file("a.py", "k = 'sk-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst'")),
        ("words", |_| file("a.py", "k = 'sk-this-is-a-fake-key-for-testsT3BlbkFJand-so-is-this-second-half'")),
        ("marker alone", |rng| file("a.txt", format!("{}T3BlbkFJ{}", random(rng, ALNUM, 20), random(rng, ALNUM, 20)))),
        ("rule of a scanner", |_| {
            file(
                "rules.toml",
                "regex = '''sk-[a-zA-Z0-9]{20}T3BlbkFJ[a-zA-Z0-9]{20}'''\nkeywords = [\"sk-\", \"T3BlbkFJ\"]",
            )
        }),
        ("published example", |_| {
            file(
                "a.ini",
                "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
            )
        }),
        ("short", |rng| file("a.env", format!("KEY=sk-{}", random(rng, ALNUM, 12)))),
        ("hashes", |rng| {
            file("sums.txt", (0..50).map(|_| format!("{}  file\n", random(rng, HEX, 64))).collect::<String>())
        }),
        ("object ids", |rng| {
            file(
                "refs",
                (0..50).map(|_| format!("{} refs/heads/task-list\n", random(rng, HEX, 40))).collect::<String>(),
            )
        }),
        ("uuids", |rng| {
            file(
                "ids.csv",
                (0..50)
                    .map(|_| {
                        format!(
                            "{}-{}-4{}-a{}-{}\n",
                            random(rng, HEX, 8),
                            random(rng, HEX, 4),
                            random(rng, HEX, 3),
                            random(rng, HEX, 3),
                            random(rng, HEX, 12)
                        )
                    })
                    .collect::<String>(),
            )
        }),
        ("lock file", |rng| {
            file(
                "package-lock.json",
                (0..40)
                    .map(|_| {
                        format!(
                            "\"integrity\": \"sha512-{}==\",\n",
                            random(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 86)
                        )
                    })
                    .collect::<String>(),
            )
        }),
        ("cargo lock", |rng| {
            file(
                "Cargo.lock",
                (0..40).map(|_| format!("checksum = \"{}\"\n", random(rng, HEX, 64))).collect::<String>(),
            )
        }),
        ("picture in base64", |rng| {
            file(
                "a.css",
                format!("url(data:image/png;base64,{})", base64(&(0..9000).map(|_| rng.u8(..)).collect::<Vec<_>>())),
            )
        }),
        ("random binary", |rng| ("a.bin", (0..60_000).map(|_| rng.u8(..)).collect())),
        ("public key", |rng| {
            file(
                "a.pem",
                format!(
                    "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                    cut(&random(rng, ALNUM, 390), 64, "\n")
                ),
            )
        }),
        ("certificate", |rng| {
            file(
                "a.crt",
                format!(
                    "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                    cut(&random(rng, ALNUM, 1200), 64, "\n")
                ),
            )
        }),
        ("ssh public key", |rng| {
            file("id.pub", format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB{} a@b\n", random(rng, ALNUM, 340)))
        }),
        ("pem header in code", |_| {
            file("a.go", "if strings.HasPrefix(s, \"-----BEGIN RSA PRIVATE KEY-----\") { return }\n")
        }),
        ("pem placeholder", |_| {
            file("b.env", "KEY=\"-----BEGIN PRIVATE KEY-----\\nYOUR KEY HERE\\n-----END PRIVATE KEY-----\\n\"")
        }),
        ("allowed", |rng| file("t.py", format!("k = '{}'  # sallyport:allow\n", openai(rng)))),
        ("prose about signs", |_| {
            file("README.md", "Never set `NEXT_PUBLIC_OPENAI_API_KEY`, and never `dangerouslyAllowBrowser: true`.\n")
        }),
        ("public variables", |rng| {
            file(
                "f.env",
                format!(
                    "VITE_FIREBASE_API_KEY=\"{}\"\nNEXT_PUBLIC_STRIPE_PUBLISHABLE_KEY=pk_live_{}\nNEXT_PUBLIC_SUPABASE_ANON_KEY={}\n",
                    random(rng, ALNUM, 30),
                    random(rng, ALNUM, 24),
                    random(rng, ALNUM, 30)
                ),
            )
        }),
        ("server call", |_| {
            file(
                "server.py",
                "requests.post('https://api.openai.com/v1/responses', headers={'Authorization': f'Bearer {key}'})\n",
            )
        }),
        ("client's own message", |_| {
            file(
                "index.mjs",
                "throw new Error(\"set `dangerouslyAllowBrowser` option to `true`, e.g.,\\n\\nnew OpenAI({ apiKey, dangerouslyAllowBrowser: true });\\n\\nhttps://help.openai.com/en/articles/5112595\\n\")",
            )
        }),
        ("css classes", |_| {
            file("a.css", ".task-list-item-checkbox-with-a-long-name, .disk-usage-indicator-large-and-wide {}")
        }),
        ("database example", |_| {
            file(
                "d.md",
                "postgres://user:password@localhost:5432/mydb mysql://root:root@127.0.0.1/test redis://:${REDIS_PASSWORD}@redis:6379",
            )
        }),
        ("identifiers", |_| {
            file(
                "a.rs",
                "fn week_number_of_the_month_and_the_year_1234() { let hf_model_name_for_the_longest_of_them = 1; }",
            )
        }),
        // Second generation.
        ("minified code", |rng| {
            file(
                "m.js",
                (0..2000)
                    .map(|_| {
                        format!(
                            "{}({},\"{}\"),",
                            random(rng, ALNUM, 2),
                            random(rng, ALNUM, 3),
                            random(rng, "abcdefghij-_", 14)
                        )
                    })
                    .collect::<String>(),
            )
        }),
        ("jwt sample", |_| {
            file(
                "jwt.md",
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
            )
        }),
        ("source map mappings", |rng| {
            file(
                "x.map",
                format!(
                    "{{\"mappings\":\"{}\"}}",
                    (0..3000).map(|_| random(rng, "ABCDEFGHIKMOQSTUacegikmo", 4)).collect::<Vec<_>>().join(",")
                ),
            )
        }),
        ("html prose with entities", |_| {
            file(
                "p.html",
                "<p>Ask&nbsp;for the task&#45;list &amp; the disk&ndash;usage of sk&#8209;learn&#8209;models</p>"
                    .repeat(50),
            )
        }),
        ("sklearn", |_| {
            file("req.txt", "sk-learn-contrib-package-with-long-name==1.2\nsk-video-processing-tools-and-more\n")
        }),
        ("locales", |_| {
            file("sk-SK.json", "{\"sk-SK\": \"sk-SK\", \"lang\": \"sk\", \"x\": [\"s\", \"k\", \"-\", \"proj\"]}")
        }),
        ("char tables", |_| {
            file("t.c", "int t[] = {115, 107, 45, 112, 114, 111, 106, 45, 1, 2, 3, 4, 5, 6, 7, 8, 9};")
        }),
        ("redacted", |_| {
            file(
                "r.json",
                "{\"redacted_value\": \"sk-proj-****************************abcd\", \"k\": \"sp-proj_****abcd\"}",
            )
        }),
        ("star key", |_| {
            file("s.log", "Incorrect API key provided: sk-proj-********************************************T3Bl.")
        }),
        ("test fixture of zeros", |_| {
            file(
                "z.env",
                "K=sk-proj-00000000000000000000T3BlbkFJ00000000000000000000\nG=ghp_000000000000000000000000000000000000\n",
            )
        }),
        ("etags", |rng| {
            file(
                "h.txt",
                (0..30)
                    .map(|_| {
                        format!("ETag: W/\"{}\"\nx-request-id: req_{}\n", random(rng, HEX, 32), random(rng, HEX, 32))
                    })
                    .collect::<String>(),
            )
        }),
        ("openai ids", |rng| {
            file(
                "i.json",
                format!(
                    "{{\"id\":\"chatcmpl-{}\",\"o\":\"org-{}\",\"p\":\"proj_{}\",\"f\":\"file-{}\",\"r\":\"resp_{}\"}}",
                    random(rng, ALNUM, 29),
                    random(rng, ALNUM, 24),
                    random(rng, ALNUM, 24),
                    random(rng, ALNUM, 24),
                    random(rng, HEX, 48)
                ),
            )
        }),
        ("stripe test and publishable", |rng| {
            file("p.env", format!("pk_live_{} sk_test_{}", random(rng, ALNUM, 24), random(rng, ALNUM, 24)))
        }),
        ("tailwind", |_| {
            file(
                "tw.html",
                "<div class=\"mask-image-[linear-gradient(black,transparent)] ask-ai-button-primary-large\">"
                    .repeat(40),
            )
        }),
        ("go sum", |rng| {
            file(
                "go.sum",
                (0..40).map(|_| format!("github.com/a/b v1.2.3 h1:{}=\n", random(rng, ALNUM, 43))).collect::<String>(),
            )
        }),
        ("ansible vault", |rng| {
            file("v.yml", format!("$ANSIBLE_VAULT;1.1;AES256\n{}\n", cut(&random(rng, HEX, 800), 80, "\n")))
        }),
        ("names with digests in them", |rng| {
            file(
                "w.yml",
                format!(
                    "key: cargo-key-{} my-api-{}-{}\n",
                    random(rng, HEX, 32),
                    random(rng, HEX, 8),
                    random(rng, HEX, 4)
                ),
            )
        }),
        ("commented switch", |_| {
            file("c.ts", "const o = {\n  // dangerouslyAllowBrowser: true, never\n  maxRetries: 2,\n}\n")
        }),
    ]
}
