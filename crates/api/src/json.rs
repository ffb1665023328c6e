//! JSON that can be meant in one way only: an object, nothing in it said twice, and nothing nested without an end.
//!
//! The types that are read from it would take a list for an object, and of two parameters of one name the last.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Objects and lists within each other.
const DEPTH_MAX: u8 = 32;

/// An object without ambiguities, whatever it says.
pub struct Unambiguous;

/// Any value without ambiguities.
struct Part;

/// Looks at a value that stands in so many others.
#[derive(Clone, Copy)]
struct Looker {
    depth: u8,
}

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Looker { depth: 0 }.deserialize(deserializer).map(|Part| Self)
    }
}

impl<'de> DeserializeSeed<'de> for Looker {
    type Value = Part;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Looker {
    fn plain<E: Error>(self) -> Result<Part, E> {
        if self.depth > 0 { Ok(Part) } else { Err(E::custom("send a JSON object")) }
    }

    fn within<E: Error>(self) -> Result<Self, E> {
        match self.depth {
            DEPTH_MAX => Err(E::custom(format!("objects and lists stand in each other {DEPTH_MAX} deep at most"))),
            depth => Ok(Self { depth: depth + 1 }),
        }
    }
}

impl<'de> Visitor<'de> for Looker {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
        let (within, mut names) = (self.within()?, HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            map.next_value_seed(within)?;
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("`{name}` is there twice")));
            }
        }
        Ok(Part)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Part, A::Error> {
        let within = self.within()?;
        while list.next_element_seed(within)?.is_some() {}
        self.plain()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Part, E> {
        self.plain()
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Part, E> {
        self.plain()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Part, E> {
        self.plain()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Part, E> {
        self.plain()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Part, E> {
        self.plain()
    }

    fn visit_unit<E: Error>(self) -> Result<Part, E> {
        self.plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_or_says_a_thing_twice_is_refused() {
        let reads = |text: &str| serde_json::from_str::<Unambiguous>(text).is_ok();
        for fine in ["{}", r#"{"a": 1, "b": [1, -2, 3.5, null, true, "x", {"a": {"b": {}}}]}"#] {
            assert!(reads(fine), "{fine}");
        }
        // A fraction alone may come as a map, when numbers are kept exactly: the types refuse it.
        for bad in ["[]", "1", "-1", "null", "true", r#""x""#, r#"{"a":1,"a":1}"#, r#"{"a":[{"b":1,"\u0062":2}]}"#] {
            assert!(!reads(bad), "{bad}");
        }
        let nested = |depth: usize| format!("{}1{}", r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
        assert!(reads(&nested(32)) && !reads(&nested(34)), "32 deep and no more");
    }
}
