//! Carries out what was decided, collects what happened.

pub mod risk;
