//! The mail server's settings: what was written, and what it means.
//!
//! Promise: a password goes out only through TLS, or to this machine itself.

use std::net::IpAddr;

use keys::Secret;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use rustls::pki_types::CertificateDer;
use url::Url;

/// Port of mail within TLS.
const TLS_PORT: u16 = 465;
/// Port for handing in mail with STARTTLS.
const START_TLS_PORT: u16 = 587;
/// Port of mail without TLS.
const PLAIN_PORT: u16 = 25;

/// What the operator wrote.
pub struct MailSettings {
    /// `mail.url`: `smtps://[user@]host[:port]` (TLS, port 465) or `smtp://[user@]host[:port]` (STARTTLS, port 587; to
    /// this machine itself without TLS, port 25). `?tls=required` and `?tls=none` after `smtp:` decide otherwise.
    pub url: String,
    /// The user's password.
    pub password: Option<Secret>,
    /// `mail.from`: `gate@example.com` or `Sallyport <gate@example.com>`.
    pub from: String,
    /// Certificate authorities beside the public ones.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailSettingsError {
    /// Not a URL of a mail server.
    #[error("`mail.url` is not of the form smtps://[user@]host[:port] or smtp://[user@]host[:port]")]
    Url,
    /// Something after the host that is not understood.
    #[error("`mail.url` may end with `?tls=required` or, after `smtp:`, with `?tls=none`, and with nothing else")]
    UrlEnd,
    /// A password in the URL.
    #[error("`mail.url` holds a password; it belongs into a setting of its own")]
    PasswordInUrl,
    /// A user without a password, or the other way round.
    #[error("a user in `mail.url` and a mail password are set only together")]
    HalfCredentials,
    /// A password would be sent in the clear.
    #[error("`mail.url` would send the password without TLS; use `smtps:` or leave out `tls=none`")]
    PasswordInTheClear,
    /// Not an address.
    #[error("`mail.from` is not a mail address in ASCII, with or without a name")]
    From,
    /// TLS cannot be set up.
    #[error("TLS to the mail server cannot be set up: {0}")]
    Tls(String),
}

/// How the connection is protected.
pub(crate) enum Protection {
    /// TLS from the first byte.
    Tls(TlsParameters),
    /// STARTTLS, or no mail.
    StartTls(TlsParameters),
    /// None.
    Plain,
}

/// What the settings mean.
pub(crate) struct Relay {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protection: Protection,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) from: Mailbox,
}

impl MailSettings {
    /// Reads them.
    pub(crate) fn relay(self) -> Result<Relay, MailSettingsError> {
        let url = Url::parse(&self.url).map_err(|_| MailSettingsError::Url)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailSettingsError::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if url.password().is_some() {
            return Err(MailSettingsError::PasswordInUrl);
        }
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(MailSettingsError::UrlEnd);
        }
        let credentials = credentials(&url, self.password.as_ref())?;
        let is_here = is_this_machine(&host);
        let tls = || tls(&host, &self.authorities);
        let (protection, usual_port) = match (url.scheme(), url.query()) {
            ("smtps", None | Some("tls=required")) => (Protection::Tls(tls()?), TLS_PORT),
            ("smtp", None) if is_here => (Protection::Plain, PLAIN_PORT),
            ("smtp", None | Some("tls=required")) => (Protection::StartTls(tls()?), START_TLS_PORT),
            ("smtp", Some("tls=none")) => (Protection::Plain, PLAIN_PORT),
            ("smtp" | "smtps", Some(_)) => return Err(MailSettingsError::UrlEnd),
            _ => return Err(MailSettingsError::Url),
        };
        if credentials.is_some() && matches!(protection, Protection::Plain) && !is_here {
            return Err(MailSettingsError::PasswordInTheClear);
        }
        let from: Mailbox = self.from.parse().map_err(|_| MailSettingsError::From)?;
        if !is_ascii(&from.email) {
            return Err(MailSettingsError::From);
        }
        Ok(Relay { port: url.port().unwrap_or(usual_port), host, protection, credentials, from })
    }
}

/// Whether every mail server takes the address.
pub(crate) fn is_ascii(address: &Address) -> bool {
    AsRef::<str>::as_ref(address).is_ascii()
}

fn credentials(url: &Url, password: Option<&Secret>) -> Result<Option<Credentials>, MailSettingsError> {
    let decoded =
        percent_encoding::percent_decode_str(url.username()).decode_utf8().map_err(|_| MailSettingsError::Url)?;
    match (decoded.is_empty(), password) {
        (true, None) => Ok(None),
        // The mail library keeps a copy of its own, which is not wiped.
        (false, Some(password)) => Ok(Some(Credentials::new(decoded.into_owned(), password.expose().to_owned()))),
        _ => Err(MailSettingsError::HalfCredentials),
    }
}

/// Whether what is sent to this host stays on this machine.
fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn tls(host: &str, authorities: &[CertificateDer<'static>]) -> Result<TlsParameters, MailSettingsError> {
    let wrong = |error: lettre::transport::smtp::Error| MailSettingsError::Tls(error.to_string());
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::WebpkiRoots);
    for authority in authorities {
        builder = builder.add_root_certificate(Certificate::from_der(authority.to_vec()).map_err(wrong)?);
    }
    builder.build_rustls().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, password: Option<&str>) -> Result<Relay, MailSettingsError> {
        let from = "Gate <gate@example.com>".to_owned();
        MailSettings { url: url.to_owned(), password: password.map(Secret::new), from, authorities: Vec::new() }.relay()
    }

    fn place(url: &str) -> (String, u16, &'static str) {
        let relay = read(url, None).unwrap_or_else(|error| panic!("{url}: {error}"));
        let protection = match relay.protection {
            Protection::Tls(_) => "tls",
            Protection::StartTls(_) => "starttls",
            Protection::Plain => "plain",
        };
        (relay.host, relay.port, protection)
    }

    #[test]
    fn tls_is_the_rule_and_this_machine_the_exception() {
        let at = |host: &str, port, protection| (host.to_owned(), port, protection);
        assert_eq!(place("smtps://mx.example.com"), at("mx.example.com", 465, "tls"));
        assert_eq!(place("smtp://mx.example.com"), at("mx.example.com", 587, "starttls"));
        assert_eq!(place("smtp://mx.example.com:25/"), at("mx.example.com", 25, "starttls"));
        assert_eq!(place("smtp://mx.example.com?tls=none"), at("mx.example.com", 25, "plain"));
        assert_eq!(place("smtp://localhost"), at("localhost", 25, "plain"));
        assert_eq!(place("smtp://127.0.0.1:1025"), at("127.0.0.1", 1025, "plain"));
        assert_eq!(place("smtp://[::1]"), at("::1", 25, "plain"));
        assert_eq!(place("smtp://localhost?tls=required"), at("localhost", 587, "starttls"));
        assert_eq!(place("smtp://localhost.example.com"), at("localhost.example.com", 587, "starttls"));
    }

    #[test]
    fn wrong_settings_are_named_and_passwords_are_not() {
        for (url, password, error) in [
            ("", None, MailSettingsError::Url),
            ("mx.example.com", None, MailSettingsError::Url),
            ("https://mx.example.com", None, MailSettingsError::Url),
            ("smtp:", None, MailSettingsError::Url),
            ("smtps://mx.example.com?tls=none", None, MailSettingsError::UrlEnd),
            ("smtp://mx.example.com?tls=opportunistic", None, MailSettingsError::UrlEnd),
            ("smtp://mx.example.com/name", None, MailSettingsError::UrlEnd),
            ("smtps://user:hunter2@mx.example.com", None, MailSettingsError::PasswordInUrl),
            ("smtps://user@mx.example.com", None, MailSettingsError::HalfCredentials),
            ("smtps://mx.example.com", Some("hunter2"), MailSettingsError::HalfCredentials),
            ("smtp://user@mx.example.com?tls=none", Some("hunter2"), MailSettingsError::PasswordInTheClear),
        ] {
            let found = read(url, password).err();
            assert_eq!(found, Some(error), "{url}");
            assert!(!format!("{found:?}").contains("hunter2"));
        }
        assert!(read("smtp://user@localhost", Some("hunter2")).is_ok());
        for from in ["", "nobody", "gate@exämple.com", "a@example.com, b@example.com"] {
            let settings = MailSettings {
                url: "smtp://localhost".to_owned(),
                password: None,
                from: from.to_owned(),
                authorities: Vec::new(),
            };
            assert_eq!(settings.relay().err(), Some(MailSettingsError::From), "{from}");
        }
    }

    #[test]
    fn a_user_may_be_percent_encoded() {
        let relay = read("smtps://gate%40example.com+a&b%3Dc@mx.example.com", Some("hunter2")).expect("settings");
        let expected = Credentials::new("gate@example.com+a&b=c".to_owned(), "hunter2".to_owned());
        assert!(relay.credentials == Some(expected));
    }
}
