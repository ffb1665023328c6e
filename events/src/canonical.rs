//! The quick way to the RFC 8785 text of our own words: their JSON text, its objects' members put in order.
//!
//! What serde_json writes already is canonical but for the order of members, as long as keys are plain ASCII and numbers
//! are whole and small. Whatever is beyond that is left to the library, which every event would cost five times as much.

/// Whole numbers of so many digits are written the same as doubles.
const DIGITS_MAX: usize = 15;

/// The canonical text of what this compact JSON text says; absent where only the library knows it.
pub(crate) fn sorted(text: &str) -> Option<String> {
    let mut reader = Reader { text, at: 0 };
    let mut out = String::with_capacity(text.len());
    reader.value(&mut out)?;
    (reader.at == text.len()).then_some(out)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    fn value(&mut self, out: &mut String) -> Option<()> {
        match self.peek()? {
            b'{' => self.object(out),
            b'[' => self.array(out),
            b'"' => self.string().map(|string| out.push_str(string)),
            _ => self.scalar().map(|scalar| out.push_str(scalar)),
        }
    }

    fn object(&mut self, out: &mut String) -> Option<()> {
        self.take(b'{')?;
        let mut members: Vec<(&str, String)> = Vec::new();
        while self.peek()? != b'}' {
            if !members.is_empty() {
                self.take(b',')?;
            }
            let key = self.string()?;
            // Members are sorted by UTF-16 units of the unescaped key, which here are its bytes.
            if !key.is_ascii() || key.contains('\\') {
                return None;
            }
            self.take(b':')?;
            let mut value = String::new();
            self.value(&mut value)?;
            members.push((key, value));
        }
        self.at += 1;
        members.sort_unstable_by_key(|(key, _)| &key[1..key.len() - 1]);
        let twice = members.windows(2).any(|two| two[0].0 == two[1].0);
        out.push('{');
        for (n, (key, value)) in members.iter().enumerate() {
            out.push_str(if n == 0 { "" } else { "," });
            out.push_str(key);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        (!twice).then_some(())
    }

    fn array(&mut self, out: &mut String) -> Option<()> {
        self.take(b'[')?;
        out.push('[');
        let mut first = true;
        while self.peek()? != b']' {
            if !first {
                self.take(b',')?;
                out.push(',');
            }
            first = false;
            self.value(out)?;
        }
        self.at += 1;
        out.push(']');
        Some(())
    }

    /// With its quotes and escapes, which serde_json writes as RFC 8785 wants them.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    /// A word, or a whole number that every double holds.
    fn scalar(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let scalar = &rest[..rest.find([',', ']', '}']).unwrap_or(rest.len())];
        let digits = scalar.strip_prefix('-').unwrap_or(scalar);
        let whole = (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let plain = whole && scalar != "-0" || ["true", "false", "null"].contains(&scalar);
        self.at += scalar.len();
        plain.then_some(scalar)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
    use serde_json::{Value, json};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[a-c\"\\\\/\u{0}-\u{1f}é]{0,4}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1_000_i64..1_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let key = prop_oneof![4 => "[a-zA-Z_0-9 ]{0,3}", 1 => any::<String>()];
            prop_oneof![
                collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                collection::btree_map(key, inner, 0..6).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_quick_way_never_says_anything_else_than_the_library(value in value()) {
            let library = serde_json_canonicalizer::to_string(&value).unwrap();
            if let Some(quick) = sorted(&serde_json::to_string(&value).unwrap()) {
                prop_assert_eq!(quick, library);
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_left_to_the_library() {
        assert_eq!(sorted(r#"{"b":1,"a":[true,"x\"y"],"":{}}"#).unwrap(), r#"{"":{},"a":[true,"x\"y"],"b":1}"#);
        for odd in ["1.0", "-0", "1e3", "12345678901234567", r#"{"é":1}"#, r#"{"a\"":1}"#, r#"{"a":1,"a":2}"#, "[1, 2]"]
        {
            assert_eq!(sorted(odd), None, "{odd}");
        }
    }
}
