//! E-mail, through the desk's own mail server.

use std::time::Duration;

use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};

use super::{
    guard,
    post::{Letter, Outcome},
    text,
};

const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Where e-mail goes out.
#[derive(Debug, Clone)]
pub struct Mailer {
    from: Mailbox,
    smtp: AsyncSmtpTransport<Tokio1Executor>,
}

/// Why none does.
#[derive(Debug, thiserror::Error)]
pub enum BadMailer {
    #[error("SMTP_URL: {0}")]
    Url(#[from] lettre::transport::smtp::Error),
    #[error("SMTP_FROM: {0}")]
    From(#[from] lettre::address::AddressError),
}

impl Mailer {
    /// `url`: as `smtps://user:password@mail.example.com` or `smtp://127.0.0.1:25`.
    pub fn new(url: &str, from: &str) -> Result<Self, BadMailer> {
        let smtp = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.timeout(Some(ANSWER_MAX)).build();
        Ok(Self { from: from.parse()?, smtp })
    }

    /// One try.
    pub async fn send(&self, letter: &Letter<'_>, to: &Address) -> Outcome {
        if let Err(why) = guard::named(to.domain()) {
            return Outcome::failed(why.to_string());
        }
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(text::subject(letter.said))
            // The same each time it is tried, so that a mail that came twice is shown once.
            .message_id(Some(format!("<{}@{}>", letter.message, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(text::body(letter.said));
        let Ok(message) = message else { return Outcome::failed("its address is none") };
        // What is set at the transport counts for connecting alone.
        match tokio::time::timeout(ANSWER_MAX, self.smtp.send(message)).await {
            Ok(Ok(_)) => Outcome::Delivered,
            Ok(Err(cause)) => Outcome::failed(in_words(&cause)),
            Err(_) => Outcome::failed(format!("the mail server did not take it within {} s", ANSWER_MAX.as_secs())),
        }
    }
}

/// Without what the server says, which may repeat the address.
fn in_words(cause: &lettre::transport::smtp::Error) -> String {
    match cause.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if cause.is_timeout() => "the mail server did not answer in time".to_owned(),
        None => "the mail server could not be reached".to_owned(),
    }
}
