//! The lines of a file, however broken: each is a text or a reason, none is lost and none fills the memory.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// A line longer than this is no row of ours.
const LENGTH_MAX: u64 = 1 << 20;

/// Reads a file line by line; blank lines are passed over.
pub struct Lines {
    file: BufReader<File>,
    number: u64,
}

/// A line and where it stands.
pub struct Line {
    pub number: u64,
    pub text: Result<String, String>,
    /// Bytes read for it.
    pub bytes: u64,
}

impl Lines {
    /// Opens a file; `None` if it is not there.
    pub fn open(path: &Path) -> std::io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self { file: BufReader::with_capacity(1 << 16, file), number: 0 })),
            // A link that leads nowhere is there, and cannot be read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self) -> std::io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let mut length = (&mut self.file).take(LENGTH_MAX).read_until(b'\n', &mut bytes)? as u64;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if length == LENGTH_MAX && bytes.last() != Some(&b'\n') {
            length += self.file.skip_until(b'\n')? as u64;
            let text = Err(format!("it is longer than {LENGTH_MAX} bytes"));
            return Ok(Some(Line { number, text, bytes: length }));
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned());
        let text = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        Ok(Some(Line { number, text, bytes: length }))
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Ok(Some(line)) if line.text.as_ref().is_ok_and(|text| text.trim().is_empty()) => {}
                Ok(line) => return line.map(Ok),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
