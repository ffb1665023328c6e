//! What a server wrote, cleared of the secrets that we sent it: exchanges like to repeat a key that they do not know.

use secrecy::{ExposeSecret, SecretString};

/// A part of a secret this long gives it away.
const TELLING: usize = 6;
const MASK: &str = "[secret]";
/// What is kept of a text for a fault.
const SHOWN: usize = 500;

/// The text without the secrets, whole or in part, plain or in their escaped forms; then cut to what a person reads.
pub(crate) fn scrub<'a>(text: &str, secrets: impl IntoIterator<Item = &'a SecretString>) -> String {
    let forms: Vec<String> = secrets.into_iter().flat_map(|secret| forms(secret.expose_secret())).collect();
    // Cut only afterwards: half a secret at the cut would not be known any more.
    without(text, &forms).chars().take(SHOWN).collect()
}

fn forms(secret: &str) -> impl Iterator<Item = String> {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = serde_json::Value::from(secret).to_string().trim_matches('"').to_owned();
    let forms = [secret.to_owned(), secret.trim().to_owned(), percent.replace('+', "%20"), percent, json];
    forms.into_iter().filter(|form| !form.is_empty())
}

/// Every run of the text that is a secret, or a telling part of one, masked.
fn without(text: &str, secrets: &[String]) -> String {
    let mut clear = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match secrets.iter().filter_map(|secret| told(rest, secret)).max() {
            Some(length) => {
                clear.push_str(MASK);
                rest = &rest[length..];
            }
            None => {
                clear.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    clear
}

/// How many bytes of the text's beginning stand in the secret, when those give it away.
fn told(text: &str, secret: &str) -> Option<usize> {
    let common = |(at, _)| {
        let pairs = text.chars().zip(secret[at..].chars());
        pairs.take_while(|(ours, theirs)| ours == theirs).map(|(c, _)| c.len_utf8()).sum()
    };
    let longest: usize = secret.char_indices().map(common).max()?;
    (longest >= secret.len().min(TELLING)).then_some(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_masked_whole_in_part_and_escaped() {
        let secrets = [SecretString::from("fake/Key+1234567890"), SecretString::from("pw")];
        let said = scrub("key fake/Key+1234567890, or fake%2FKey%2B1234567890, or Key+12345..., with pw", &secrets);
        assert_eq!(said, "key [secret], or [secret], or [secret]..., with [secret]");
    }

    proptest! {
        #[test]
        fn no_text_keeps_a_secret(before in ".{0,80}", secret in "[ -~]{1,40}", after in ".{0,600}") {
            prop_assume!(!MASK.contains(&secret) && !secret.trim().is_empty());
            let said = scrub(&format!("{before}{secret}{after}"), [&SecretString::from(secret.clone())]);
            let told = said.replace(MASK, "\u{0}").contains(&secret);
            prop_assert!(!told, "{}", said);
        }
    }
}
