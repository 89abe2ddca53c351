//! What is known of a kind of secret beyond its expression: checksums, lengths, contents.

use crate::lookalike::is_placeholder;
use crate::rule::{Matched, Passed};

/// Nothing more is known than the form.
const FORM: u8 = 1;
/// A known word or length.
const LIKELY: u8 = 2;
/// The length, the checksum or the content proves it.
const PROVEN: u8 = 3;

/// Anything that the expression takes.
pub(crate) fn any(matched: &Matched<'_>) -> Option<Passed> {
    Some(Passed { bytes: matched.text.len(), certainty: FORM })
}

const MARKER: &[u8] = b"T3BlbkFJ";
/// Random characters on either side of the marker.
const HALVES: [usize; 3] = [20, 58, 74];
const OPENAI_WORDS: [&[u8]; 5] = [b"proj-", b"svcacct-", b"admin-", b"None-", b"service-"];

/// A key of the OpenAI API: `sk-`, a word perhaps, then as many random characters before the marker as behind it. The
/// lengths tell where a key ends that other text is glued to; a key of any other length is taken as it stands.
pub(crate) fn openai(matched: &Matched<'_>) -> Option<Passed> {
    let text = matched.text;
    let marker = memchr::memmem::find_iter(text, MARKER).find(|at| *at >= 3 + 16)?;
    let behind = text.len() - marker - MARKER.len();
    let body = &text[3..marker];
    let word = OPENAI_WORDS.into_iter().find(|word| body.starts_with(word));
    let random = &body[word.map_or(0, <[u8]>::len)..];
    // A service's name stands before the random part and may have hyphens in it, which the random part may have too.
    let half = match word {
        Some(b"service-") => HALVES.into_iter().rev().find(|half| {
            random.len().checked_sub(half + 1).is_some_and(|hyphen| random[hyphen] == b'-') && behind >= *half
        }),
        _ => HALVES.into_iter().find(|half| *half == random.len()),
    };
    let whole = half.filter(|half| behind >= *half);
    let used = whole.unwrap_or(behind.min(HALVES[2]));
    let end = marker + MARKER.len() + used;
    let halves = [&random[random.len() - whole.unwrap_or(random.len())..], &text[marker + MARKER.len()..end]].concat();
    if is_placeholder(&halves) || !is_mixed(&halves) {
        return None;
    }
    let certainty = if whole.is_some() {
        PROVEN
    } else if word.is_some() {
        LIKELY
    } else {
        FORM
    };
    Some(Passed { bytes: end, certainty })
}

/// Letters of both cases: once in a billion a random key of 40 characters has them not.
fn is_mixed(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_uppercase) && text.iter().any(u8::is_ascii_lowercase)
}

/// One of this gate's keys: the checksum says.
pub(crate) fn own(matched: &Matched<'_>) -> Option<Passed> {
    let text = std::str::from_utf8(matched.text).ok()?;
    // What is matched begins with the prefix; other text may be glued on behind.
    let secret = text.get(matched.shape.prefix().len()..)?.find('_')? + matched.shape.prefix().len() + 1;
    let key = text.get(..secret + keys::SECRET_CHARS)?;
    matched.shape.parse(key).ok().map(|_| Passed { bytes: key.len(), certainty: PROVEN })
}

/// GitHub's and npm's tokens: 30 random base62 digits, then their CRC-32 in six. A token without the right checksum was
/// never issued; it is reported all the same, with less certainty, since the scheme is not promised for every kind.
pub(crate) fn github(matched: &Matched<'_>) -> Option<Passed> {
    let prefix = matched.text.iter().position(|byte| *byte == b'_')? + 1;
    let (random, checksum) = matched.text[prefix..].split_at_checked(30)?;
    if is_placeholder(random) {
        return None;
    }
    let is_right = checksum.get(..6)? == base62(crc32fast::hash(random));
    Some(Passed { bytes: prefix + 36, certainty: if is_right { PROVEN } else { FORM } })
}

fn base62(mut value: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(value % 62) as usize];
        value /= 62;
    }
    digits
}

/// Random text of letters of both cases. Names of a program change their case at the start of a word only, so that a
/// text without digits must do it more often: two neighbours of five differ by chance.
pub(crate) fn mixed(matched: &Matched<'_>) -> Option<Passed> {
    let text = matched.text;
    let is_letters = |pair: &&[u8]| pair.iter().all(u8::is_ascii_alphabetic);
    let changes = text.windows(2).filter(is_letters).filter(|pair| (pair[0] ^ pair[1]) & 0x20 != 0).count();
    let is_name = !text.iter().any(u8::is_ascii_digit) && changes * 4 < text.len();
    (is_mixed(text) && !is_name).then(|| crate::lookalike::is_random(matched)).flatten()
}

/// Random text with several digits among its letters.
pub(crate) fn with_digits(matched: &Matched<'_>) -> Option<Passed> {
    let digits = matched.text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = matched.text.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    (digits >= 4 && letters >= 4).then(|| crate::lookalike::is_random(matched)).flatten()
}

/// A line of a private key has 64 digits; it may be broken once more.
const PEM_LINE_BYTES_MIN: usize = 30;

/// A private key in PEM: enough base64 behind the label that it is one.
pub(crate) fn pem(matched: &Matched<'_>) -> Option<Passed> {
    let text = matched.text;
    let label = memchr::memmem::find(text, b"KEY")?;
    let body = &text[label..];
    let body = &body[memchr::memmem::find(body, b"-----")? + 5..];
    let body = &body[..memchr::memmem::find(body, b"-----END").unwrap_or(body.len())];
    let digits: Vec<u8> = body.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    let line = body.split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/')).map(<[u8]>::len).max();
    if digits.len() < 56 || line < Some(PEM_LINE_BYTES_MIN) || is_placeholder(&digits) || !is_mixed(&digits) {
        return None;
    }
    // Without its end, the key is what is there up to the end of the last long line.
    let label = memchr::memmem::find(text, b"-----END")
        .and_then(|end| memchr::memmem::find(&text[end + 8..], b"-----").map(|dashes| end + 8 + dashes + 5));
    let end = label.unwrap_or_else(|| {
        text.len() - text.iter().rev().take_while(|byte| !byte.is_ascii_alphanumeric() && **byte != b'=').count()
    });
    Some(Passed { bytes: end, certainty: LIKELY })
}

/// Passwords that everybody's example has.
const USUAL_PASSWORDS: [&[u8]; 22] = [
    b"password",
    b"passwd",
    b"pass",
    b"pwd",
    b"secret",
    b"postgres",
    b"mysql",
    b"root",
    b"admin",
    b"user",
    b"username",
    b"example",
    b"changeme",
    b"test",
    b"guest",
    b"redis",
    b"mongo",
    b"rabbitmq",
    b"db",
    b"mypassword",
    b"123456",
    b"p4ssw0rd",
];

/// The address of a database with a password in it. The passwords of examples and variables are none, nor is one that
/// is also the user's name.
pub(crate) fn database_url(matched: &Matched<'_>) -> Option<Passed> {
    let text = matched.text;
    let authority = &text[memchr::memmem::find(text, b"://")? + 3..];
    let at = memchr::memrchr(b'@', authority)?;
    let (user, password) = authority[..at].split_at(memchr::memchr(b':', &authority[..at])?);
    let password = &password[1..];
    let host = authority[at + 1..].to_ascii_lowercase();
    let lower = password.to_ascii_lowercase();
    let is_example = host.starts_with(b"example.") || memchr::memmem::find(&host, b".example").is_some();
    let is_usual = USUAL_PASSWORDS.contains(&lower.as_slice()) || user == password;
    let is_variable = password.iter().any(|byte| matches!(byte, b'$' | b'{' | b'<' | b'*' | b'['))
        || password.starts_with(b"%")
        || password.iter().all(|byte| *byte == b'x' || *byte == b'.');
    let is_word =
        lower.starts_with(b"your") || lower.starts_with(b"my") || memchr::memmem::find(&lower, b"password").is_some();
    if password.len() < 6 || is_usual || is_variable || is_word || is_example || is_placeholder(password) {
        return None;
    }
    Some(Passed { bytes: text.len(), certainty: FORM })
}

/// Supabase's key that goes round every policy: a JWT whose payload says so.
pub(crate) fn service_role(matched: &Matched<'_>) -> Option<Passed> {
    let payload = matched.text.split(|byte| *byte == b'.').nth(1)?;
    // `"service_role"` in base64, at its three alignments, but for the digits that depend on the neighbours.
    let spellings = [&b"InNlcnZpY2Vfcm9sZS"[..], b"JzZXJ2aWNlX3JvbGUi", b"ic2VydmljZV9yb2xlI"];
    let is_service = spellings.iter().any(|spelling| memchr::memmem::find(payload, spelling).is_some());
    is_service.then_some(Passed { bytes: matched.text.len(), certainty: LIKELY })
}

/// Behind a bot's number only.
pub(crate) fn telegram(matched: &Matched<'_>) -> Option<Passed> {
    let number = matched.before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    (8..=10).contains(&number).then(|| crate::lookalike::is_random(matched)).flatten()
}

/// A key of Azure's AI services: 32 hexadecimal digits, or 84 characters with a signature in them.
pub(crate) fn azure_ai(matched: &Matched<'_>) -> Option<Passed> {
    let is_long = matched.text.len() == 84 && memchr::memmem::find(matched.text, b"JQQJ9").is_some();
    let is_short = matched.text.len() == 32 && matched.text.iter().all(u8::is_ascii_hexdigit);
    (is_long || is_short).then(|| with_digits(matched)).flatten()
}

/// Names of variables that end in the bundle, and are meant to.
const PUBLIC_NAMES: [&str; 10] =
    ["PUBLISHABLE", "ANON", "SITE_KEY", "SITEKEY", "PUBLIC_KEY", "FIREBASE", "MAPS", "RECAPTCHA", "VAPID", "CLIENT_ID"];
const AI_NAMES: [&str; 14] = [
    "OPENAI",
    "OPEN_AI",
    "GPT",
    "ANTHROPIC",
    "CLAUDE",
    "GEMINI",
    "GROQ",
    "MISTRAL",
    "DEEPSEEK",
    "OPENROUTER",
    "COHERE",
    "HUGGINGFACE",
    "REPLICATE",
    "LLM",
];

/// A variable that the build writes into the bundle, with a name that says it is a secret, and with a value or read by
/// the code. Its mere mention in a text is nothing.
pub(crate) fn inlined(matched: &Matched<'_>) -> Option<Passed> {
    let text = matched.text;
    let name_bytes = text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let name = std::str::from_utf8(&text[..name_bytes]).ok()?.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let is_secret = has(&AI_NAMES) && has(&["KEY", "TOKEN", "SECRET"])
        || has(&["_SECRET", "PRIVATE_KEY", "SERVICE_ROLE", "ACCESS_KEY_ID"]);
    if !is_secret || has(&PUBLIC_NAMES) || is_comment(matched.before) {
        return None;
    }
    let is_read = [&b"env."[..], b"env?.", b"env[\"", b"env['", b"env[`", b"Config.", b"Constants."]
        .iter()
        .any(|reading| matched.before.ends_with(reading));
    let value: Vec<u8> = text[name_bytes..].iter().copied().skip_while(|byte| !is_value(*byte)).collect();
    let is_set = value.len() >= 8 && !is_placeholder(&value) && is_real_value(&value);
    // Only the name is shown: what stands behind it may be the secret.
    (is_read || is_set).then_some(Passed { bytes: name_bytes, certainty: FORM })
}

fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'+')
}

/// Not a word, a variable or a path.
fn is_real_value(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let lower = value.to_ascii_lowercase();
    let is_word = ["your", "my", "xxx", "...", "process.env", "import.meta", "secrets.", "env."]
        .iter()
        .any(|word| lower.starts_with(word.as_bytes()) || lower.ends_with(word.as_bytes()));
    digits >= 2 && !is_word && !lower.windows(3).any(|three| three == b"xxx" || three == b"...")
}

/// The client's switch that lets it run where every visitor can read the key. The client's own message quotes it.
pub(crate) fn browser_switch(matched: &Matched<'_>) -> Option<Passed> {
    let is_message = memchr::memmem::find(matched.text, b"help.openai").is_some();
    let is_quoted = matched.before.ends_with(b"`");
    (!is_message && !is_quoted && !is_comment(matched.before)).then_some(Passed {
        bytes: matched.text.iter().position(|byte| *byte == b'}').unwrap_or(matched.text.len()),
        certainty: FORM,
    })
}

/// Whether a line's start says that it is a comment.
fn is_comment(before: &[u8]) -> bool {
    let line = &before[memchr::memrchr2(b'\n', b'\r', before).map_or(0, |at| at + 1)..];
    let line = line.trim_ascii_start();
    let starts = [&b"//"[..], b"*", b"/*", b"#", b"<!--", b"--", b";"];
    starts.iter().any(|start| line.starts_with(start)) || memchr::memmem::find(line, b" // ").is_some()
}

/// The call itself: an address with the header that holds a key near behind it.
pub(crate) fn direct_call(matched: &Matched<'_>) -> Option<Passed> {
    let lower = matched.text.to_ascii_lowercase();
    let header = memchr::memmem::find(&lower, b"authorization")?;
    let is_call = memchr::memmem::find(&lower[header..], b"bearer").is_some() && !is_comment(matched.before);
    is_call.then_some(Passed { bytes: b"api.openai.com".len(), certainty: FORM })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_github() {
        // Published by GitHub with its description of the format.
        let shape = keys::Shape::default();
        let check =
            |text: &str| github(&Matched { text: text.as_bytes(), before: b"", shape: &shape }).map(|p| p.certainty);
        assert_eq!(check("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"), Some(PROVEN));
        assert_eq!(check("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18"), Some(FORM));
        assert_eq!(check("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), None);
    }
}
