//! Where the recordings of the real server lie: outside of the repository, and perhaps not at all.

use std::path::{Path, PathBuf};

/// Where the recordings are, if they are there.
pub fn recordings() -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/hummingbot");
    if !shared.exists() {
        eprintln!("{} is not there: nothing was checked against the real server", shared.display());
        return None;
    }
    Some(shared)
}
