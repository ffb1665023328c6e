//! Exchange keys: sealed under a key ring, opened in one place, never shown.
