//! The scheme's test vectors, as seeds and as keys. `crates/scheme/vectors/README.md` says what
//! stands in them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/scheme/vectors")
}

/// The fields of one file.
pub struct File(HashMap<String, String>);

impl File {
    /// A file by its path in the folder of vectors, such as `parties.txt`.
    pub fn read(path: &str) -> File {
        File::parse(&folder().join(path))
    }

    fn parse(path: &Path) -> File {
        let text = std::fs::read_to_string(path).expect("a file of test vectors");
        let fields = text.lines().filter(|line| !line.starts_with('#'));
        let fields = fields.filter_map(|line| line.split_once(": "));
        File(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A field of bytes, if it is there and is one.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in self.0.get(name)?.split(' ') {
            let (digits, times) = part.split_once('*').unwrap_or((part, "1"));
            let once: Option<Vec<u8>> = (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
                .collect();
            out.extend(once?.repeat(times.parse().ok()?));
        }
        Some(out)
    }

    /// A field of bytes of a known length.
    pub fn fixed<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).and_then(|bytes| bytes.try_into().ok()).expect(name)
    }

    /// A number.
    pub fn number(&self, name: &str) -> u64 {
        self.0[name].parse().expect(name)
    }
}

/// One field of all vectors of one operation, the good and the bad.
pub fn all(operation: &str, field: &str) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder().join(operation)).expect("a folder of test vectors");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    // Nothing is learnt from the longest.
    let short = |bytes: &Vec<u8>| bytes.len() < 16_384;
    files.iter().filter_map(|file| File::parse(file).bytes(field)).filter(short).collect()
}
