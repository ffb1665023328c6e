//! A Hummingbot API over a paper exchange that plays a real tape.
