//! Attempts of mails.

use keys::Secret;
use rustls::pki_types::CertificateDer;
use store::Channel;

use super::mail_server::{MailServer, Reply, Tls};
use super::{NOW, client_tls, notice, server_tls};
use crate::{Mail, MailSettings, SendError, Sender, Webhooks};

fn sender_with(url: String, password: Option<&str>, authorities: Vec<CertificateDer<'static>>) -> Sender {
    let from = "Gate <gate@example.com>".to_owned();
    let mail = Mail::new(MailSettings { url, password: password.map(Secret::new), from, authorities });
    Sender::new(Some(mail.expect("settings")), Webhooks::new(client_tls(&[]), |_| None))
}

fn sender(server: &MailServer) -> Sender {
    sender_with(server.url(), None, Vec::new())
}

async fn send(sender: &Sender, recipients: &[&str]) -> Result<(), SendError> {
    let recipients = recipients.iter().map(|&recipient| recipient.to_owned()).collect();
    let channel = Channel::Email { recipients, subject_prefix: Some("[prod]".to_owned()) };
    sender.send(&notice("notice_1"), &channel, NOW).await
}

/// What an operator reads when the server does this.
async fn words(at: &'static str, reply: Reply) -> String {
    let server = MailServer::start(&[(at, reply)]).await;
    let words = send(&sender(&server), &["a@example.com"]).await.expect_err("a failure").words();
    assert!(server.letters().is_empty());
    assert!(!words.contains("secretive"), "{words}");
    words
}

#[tokio::test]
async fn a_mail_arrives_whole_and_is_told_from_others() {
    let server = MailServer::start(&[]).await;
    let sender = sender(&server);
    for _ in 0..2 {
        send(&sender, &["a@example.com", "b@example.com", "a@example.com"]).await.expect("delivered");
    }
    let letters = server.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0], letters[1], "a repetition is the same mail");
    for line in [
        "From: Gate <gate@example.com>",
        "To: a@example.com, b@example.com",
        "Message-ID: <notice_1@example.com>",
        "Subject: [prod] spend_alert.triggered",
        "Date: Mon, 14 Sep 2026 10:22:00 +0000",
        "Auto-Submitted: auto-generated",
        "Content-Type: text/plain; charset=utf-8",
    ] {
        assert!(letters[0].contains(&format!("{line}\r\n")), "{line} in {}", letters[0]);
    }
    let commands = server.commands();
    assert_eq!(commands[0], "EHLO example.com");
    assert_eq!(commands.iter().filter(|command| command.starts_with("RCPT")).count(), 4, "{commands:?}");
    assert!(!commands.iter().any(|command| command.starts_with("AUTH")), "{commands:?}");
}

#[tokio::test]
async fn a_refusal_is_told_by_its_status_and_step() {
    for (at, line, expected) in [
        ("GREETING", "554 secretive", "the mail server answered with status 554 to the connection"),
        ("EHLO", "421 secretive", "the mail server answered with status 421 to the connection"),
        ("MAIL", "550 secretive", "the mail server answered with status 550 to the sender (`mail.from`)"),
        ("RCPT", "451 secretive", "not accepted for a@example.com (status 451)"),
        ("DATA", "452 secretive", "the mail server answered with status 452 to the message"),
        ("MESSAGE", "554 secretive", "the mail server answered with status 554 to the message"),
    ] {
        assert_eq!(words(at, Reply::Line(line)).await, expected);
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_or_speaks_something_else_is_told() {
    for at in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "MESSAGE"] {
        let words = words(at, Reply::HangUp).await;
        assert!(words.contains("failed"), "{at}: {words}");
    }
    assert!(words("GREETING", Reply::Line("HTTP/1.1 400 secretive")).await.contains("not SMTP"));
    let nobody = sender_with("smtp://127.0.0.1:1".to_owned(), None, Vec::new());
    let words = send(&nobody, &["a@example.com"]).await.expect_err("nobody is there").words();
    assert!(words.contains("the connection failed"), "{words}");
}

#[tokio::test]
async fn a_server_that_stalls_is_left() {
    assert_eq!(words("MAIL", Reply::Stall).await, "no answer within 60 seconds");
}

#[tokio::test]
async fn a_goodbye_that_never_comes_changes_nothing() {
    let server = MailServer::start(&[("QUIT", Reply::Stall)]).await;
    send(&sender(&server), &["a@example.com"]).await.expect("delivered");
    assert_eq!(server.letters().len(), 1);
}

#[tokio::test]
async fn one_refused_address_does_not_cost_the_others_their_mail_nor_bring_it_twice() {
    let server = MailServer::start(&[("RCPT TO:<b@", Reply::Once("450 later"))]).await;
    let sender = sender(&server);
    let recipients = ["a@example.com", "b@example.com"];
    let error = send(&sender, &recipients).await.expect_err("not for all");
    assert_eq!(error.words(), "not accepted for b@example.com (status 450)");
    send(&sender, &recipients).await.expect("for all");
    let mut asked = server.commands();
    asked.retain(|command| command.starts_with("RCPT"));
    assert_eq!(asked, ["RCPT TO:<a@example.com>", "RCPT TO:<b@example.com>", "RCPT TO:<b@example.com>"]);
    assert_eq!(server.letters().len(), 2);
}

#[tokio::test]
async fn what_is_no_address_is_told_and_breaks_nothing() {
    let server = MailServer::start(&[]).await;
    let sender = sender(&server);
    let error = send(&sender, &["a@example.com", "b@example.com>\r\nRCPT TO:<c@example.com"]).await;
    let words = error.expect_err("not for all").words();
    assert!(words.contains("not a mail address") && !words.contains('\n'), "{words}");
    assert_eq!(server.letters().len(), 1);
    assert!(!server.commands().iter().any(|command| command.contains("c@")), "{:?}", server.commands());
    assert!(matches!(send(&sender, &[]).await, Err(SendError::NoRecipients)));
}

#[tokio::test]
async fn a_user_signs_in_and_failing_to_is_told_without_the_password() {
    let server = MailServer::start(&[]).await;
    send(&sender_with(server.url_of("gate"), Some("hunter2"), Vec::new()), &["a@example.com"]).await.expect("sent");
    // The user and the password between zero bytes, in base64.
    assert!(server.commands().contains(&"AUTH PLAIN AGdhdGUAaHVudGVyMg==".to_owned()), "{:?}", server.commands());

    let server = MailServer::start(&[("AUTH", Reply::Line("535 hunter2 is wrong"))]).await;
    let sender = sender_with(server.url_of("gate"), Some("hunter2"), Vec::new());
    let words = send(&sender, &["a@example.com"]).await.expect_err("refused").words();
    assert_eq!(words, "the mail server answered with status 535 to signing in");
}

#[tokio::test]
async fn without_the_tls_that_was_asked_for_nothing_is_sent() {
    let server = MailServer::start(&[]).await;
    let url = format!("{}?tls=required", server.url_of("gate"));
    let words = send(&sender_with(url, Some("hunter2"), Vec::new()), &["a@example.com"]).await;
    assert!(words.expect_err("no TLS").words().contains("STARTTLS"));
    let commands = server.commands();
    assert!(commands.iter().all(|command| command.starts_with("EHLO") || command == "QUIT"), "{commands:?}");
}

#[tokio::test]
async fn mail_goes_through_tls_to_whom_the_operator_trusts() {
    let (certificate, acceptor) = server_tls();
    for tls in [Tls::AtOnce(acceptor.clone()), Tls::AtCommand(acceptor)] {
        let server = MailServer::start_with(&[], tls).await;
        let url = format!("{}?tls=required", server.url_of("gate"));
        let stranger = send(&sender_with(url.clone(), Some("hunter2"), Vec::new()), &["a@example.com"]).await;
        let words = stranger.expect_err("a stranger").words();
        assert!(words.contains("certificate"), "{words}");
        assert!(!server.commands().iter().any(|command| command.starts_with("AUTH")));

        let known = sender_with(url, Some("hunter2"), vec![certificate.clone()]);
        send(&known, &["a@example.com"]).await.expect("delivered");
        assert!(server.commands().iter().any(|command| command.starts_with("AUTH")));
        assert_eq!(server.letters().len(), 1);
    }
}
