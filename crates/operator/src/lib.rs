//! Carries out what was decided, collects what happened.
