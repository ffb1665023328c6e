//! What people give as a reason or a note: one line that a log, a list and a message can show as it is.

use std::ops::RangeInclusive;

/// The longest one, in characters.
pub(crate) const LINE_MAX: usize = 500;

/// Whether it is one line of so many characters.
pub(crate) fn is_line(text: &str, characters: RangeInclusive<usize>) -> bool {
    let least_is_seen = *characters.start() == 0 || !text.trim().is_empty();
    least_is_seen && characters.contains(&text.chars().count()) && !text.contains(char::is_control)
}
